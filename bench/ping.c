/* A byte to another process and back, through two pipes: ping COUNT prints the microseconds of each. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void answer(int from, int to) {
  char byte;
  while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1) continue;
}

int main(int argc, char **argv) {
  int there[2], back[2], count = argc > 1 ? atoi(argv[1]) : 0;
  char byte = 0;
  if (count < 1 || pipe(there) < 0 || pipe(back) < 0) return EXIT_FAILURE;
  pid_t pid = fork();
  if (pid < 0) return EXIT_FAILURE;
  if (pid == 0) {
    close(there[1]);
    answer(there[0], back[1]);
    _exit(0);
  }
  for (int i = 0; i < count; i++) {
    double began = now();
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) return EXIT_FAILURE;
    printf("%.1f\n", now() - began);
  }
  close(there[1]);
  return waitpid(pid, NULL, 0) == pid ? EXIT_SUCCESS : EXIT_FAILURE;
}
