// The namespaces of a sandbox through Go's os/exec, in a loop: clone-loop COUNT [mount].
// Prints the microseconds of each run.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	warmUp         = 5
	cloneNewCgroup = 0x02000000 // not in package syscall
)

func attributes(mount bool) *syscall.SysProcAttr {
	flags := syscall.CLONE_NEWUSER | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID |
		syscall.CLONE_NEWNET | cloneNewCgroup
	if mount {
		flags |= syscall.CLONE_NEWNS
	}
	return &syscall.SysProcAttr{
		Cloneflags:  uintptr(flags),
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
}

func run(mount bool) {
	command := exec.Command("/bin/true")
	command.SysProcAttr = attributes(mount)
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "clone-loop:", err)
		os.Exit(1)
	}
}

func main() {
	count, _ := strconv.Atoi(os.Args[1])
	mount := len(os.Args) > 2
	for i := -warmUp; i < count; i++ {
		began := time.Now()
		run(mount)
		if i >= 0 {
			fmt.Printf("%.1f\n", float64(time.Since(began).Nanoseconds())/1e3)
		}
	}
}
