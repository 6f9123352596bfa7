/* The agent on a POSIX system: a device on standard input and output, or on the tty that is named.
 *
 *   emnas-agent            speaks on standard input and output
 *   emnas-agent /dev/pts/3 speaks on a tty, which it sets to raw bytes
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../agent.h"

static int line_in = STDIN_FILENO, line_out = STDOUT_FILENO;
/* Words, as a model's must be aligned. */
static uint32_t model_words[1u << 22], input[1u << 18], output[1u << 16], arena[1u << 20];

static void send_all(const uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = write(line_out, bytes, length);
    if (sent <= 0) exit(EXIT_FAILURE); /* the other end is gone */
    bytes += sent;
    length -= (size_t)sent;
  }
}

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The checksum of this program's file, where the system tells where it is; else 0. */
static uint32_t own_checksum(void) {
  uint8_t part[4096];
  uint32_t crc = 0;
  size_t got;
  FILE *file = fopen("/proc/self/exe", "rb");
  if (file == NULL) return 0;
  while ((got = fread(part, 1, sizeof part, file)) > 0) crc = link_crc32(crc, part, got);
  fclose(file);
  return crc;
}

static void open_tty(const char *path) {
  struct termios raw;
  line_in = line_out = open(path, O_RDWR | O_NOCTTY);
  if (line_in < 0 || tcgetattr(line_in, &raw) != 0) {
    perror(path);
    exit(EXIT_FAILURE);
  }
  raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  raw.c_oflag &= ~(tcflag_t)OPOST;
  raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
  raw.c_cflag = (raw.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
  tcsetattr(line_in, TCSANOW, &raw);
}

int main(int count, char **arguments) {
  static agent self = {
      .name = "posix",
      .ticks_per_second = 1000000000u,
      .ticks = nanoseconds,
      .arena = (int8_t *)arena,
      .arena_bytes = sizeof arena,
      .slots = {{.bytes = (uint8_t *)model_words, .capacity = sizeof model_words},
                {.bytes = (uint8_t *)input, .capacity = sizeof input},
                {.bytes = (uint8_t *)output, .capacity = sizeof output}},
      .send = send_all,
  };
  uint8_t bytes[4096];
  ssize_t got;
  self.firmware = own_checksum();
  if (count > 1) open_tty(arguments[1]);
  while ((got = read(line_in, bytes, sizeof bytes)) > 0)
    for (ssize_t i = 0; i < got; i++) agent_take(&self, bytes[i]);
  return EXIT_SUCCESS;
}
