/*
 * Commands as processes, in turn: alternate COUNT A… VERSUS B… runs A, B, A, B, … and prints the
 * microseconds of each, "A B" a line. Their output is dropped; a status other than 0 ends it.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 3 };

extern char **environ;
static posix_spawn_file_actions_t quiet;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double run(char **argv) {
  pid_t pid;
  int status;
  double began = now();
  if (posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) < 0 || status) {
    fprintf(stderr, "alternate: %s failed\n", argv[0]);
    exit(1);
  }
  return now() - began;
}

/* Cuts the arguments at "VERSUS": the second command. */
static char **second(char **argv) {
  while (*argv && strcmp(*argv, "VERSUS") != 0) argv++;
  if (!*argv) exit(2);
  *argv = NULL;
  return argv + 1;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  int count = atoi(argv[1]);
  char **a = argv + 2, **b = second(a);
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  for (int i = -WARM_UP; i < count; i++) {
    double of_a = run(a), of_b = run(b);
    if (i >= 0) printf("%.1f %.1f\n", of_a, of_b);
  }
  return 0;
}
