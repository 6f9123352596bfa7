/* A board with one network compiled in, as the runner of MLPerf Tiny speaks to it.
 *
 * A command is ASCII and ends with '%'; the lines of its answer end with "m-ready". What is said
 * there was read in mlcommons/tiny, benchmark/api. This file takes the place of agent.c: the ports
 * hand it the same bytes, memory, clock and line. network.h comes from hardware/c_project.py.
 */
#include <string.h>

#include "../agent.h"
#include "network.h"

#ifndef MLPERF_MODEL /* else what "m-model-[...]" says instead of the network's checksum */
#define MLPERF_MODEL ""
#endif
#ifndef MLPERF_INPUT_FLIP /* 0x80 where the host sends an image's bytes as 0 to 255 */
#define MLPERF_INPUT_FLIP 0
#endif

enum { LONGEST = 80, MOST_WORDS = 4, MOST_RUNS = 10000, USUAL_WARM_UPS = 10, A_LINE = 8 };
enum { MILLION = 1000000 };

/* One step of the output, of 10^-12: a network's real numbers need no floating point here. */
static const int64_t STEP = (int64_t)(NETWORK_OUTPUT_SCALE * 1e12);

static struct {
  char line[LONGEST + 1]; /* the command so far */
  size_t used;
  bool too_long;
  bool opened;
  const char *wrong;           /* with the network; NULL if it can run */
  uint32_t expected, received; /* bytes of the input; all of them before the first "db load" */
  bool inferred;
} board;

/* ------------------------------------------------------------------------------------- speaking */

static void say(agent *self, const char *text) {
  self->send((const uint8_t *)text, strlen(text));
}

static void say_number(agent *self, uint64_t value, int least_digits) {
  char digits[24];
  size_t at = sizeof digits - 1;
  digits[at] = '\0';
  for (; value > 0 || least_digits > 0; least_digits--) {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  }
  say(self, digits + at);
}

static void say_hex(agent *self, uint32_t value, int digits) {
  char text[2] = "0";
  while (digits-- > 0) {
    text[0] = "0123456789abcdef"[value >> (4 * digits) & 15];
    say(self, text);
  }
}

/* A message with a number in it, on a line of its own. */
static void report(agent *self, const char *before, uint64_t value, const char *after) {
  say(self, before);
  say_number(self, value, 1);
  say(self, after);
  say(self, "\r\n");
}

/* A real number with six decimals. */
static void say_output(agent *self, int32_t steps) {
  int64_t exact = steps * STEP;
  uint64_t size = exact < 0 ? (uint64_t)-exact : (uint64_t)exact;
  uint64_t millionths = (size + MILLION / 2) / MILLION;
  if (exact < 0) say(self, "-");
  say_number(self, millionths / MILLION, 1);
  say(self, ".");
  say_number(self, millionths % MILLION, 6);
}

/* ------------------------------------------------------------------------------------ listening */

static bool same(const char *word, const char *name) {
  size_t length = strlen(name);
  return strlen(word) == length && memcmp(word, name, length) == 0;
}

/* Cuts a line at its spaces; what comes after the last word that fits is left out. */
static size_t split(char *line, char *words[MOST_WORDS]) {
  size_t count = 0;
  while (count < MOST_WORDS) {
    while (*line == ' ') *line++ = '\0';
    if (*line == '\0') break;
    words[count++] = line;
    while (*line != ' ' && *line != '\0') line++;
  }
  *line = '\0';
  return count;
}

/* Whether a word is a whole number up to a bound. */
static bool number(const char *word, uint32_t most, uint32_t *value) {
  if (*word == '\0') return false;
  for (*value = 0; *word != '\0'; word++) {
    if (*word < '0' || *word > '9') return false;
    *value = *value * 10 + (uint32_t)(*word - '0');
    if (*value > most) return false; /* far below 2^32 / 10 */
  }
  return true;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* ---------------------------------------------------------------------------------- the network */

/* The network and, until the host loads one, the input that came with it. */
static void open_network(agent *self) {
  agent_slot *input = &self->slots[AGENT_INPUT];
  board.opened = true;
  board.wrong = model_open(&self->network, (const uint8_t *)network, sizeof network,
                           self->arena_bytes);
  if (board.wrong == NULL && (sizeof network_input != (size_t)self->network.input_bytes ||
                              sizeof network_input > input->capacity ||
                              (uint32_t)self->network.output_bytes >
                                  self->slots[AGENT_OUTPUT].capacity))
    board.wrong = "The network's input or output does not fit";
  if (board.wrong != NULL) return;
  memcpy(input->bytes, network_input, sizeof network_input);
  board.expected = board.received = sizeof network_input;
}

/* Runs it, and returns when that was done. The input is copied every time, since the arena is used
 * over again; the clock is read every time, since it may come round. */
static uint64_t run(agent *self, uint32_t times) {
  const model *it = &self->network;
  uint64_t now = self->ticks();
  while (times-- > 0) {
    memcpy(self->arena + it->input, self->slots[AGENT_INPUT].bytes, (size_t)it->input_bytes);
    model_run(it, self->arena, NULL, NULL);
    now = self->ticks();
  }
  return now;
}

static uint64_t microseconds(const agent *self, uint64_t ticks) {
  uint64_t rate = self->ticks_per_second;
  return ticks / rate * MILLION + ticks % rate * MILLION / rate;
}

/* ------------------------------------------------------------------------------------- commands */

static void name(agent *self, size_t count, char **words) {
  (void)count, (void)words;
  say(self, "m-name-dut-[EmNAS Gym on ");
  say(self, self->name);
  say(self, "]\r\n");
}

static void profile(agent *self, size_t count, char **words) {
  (void)count, (void)words;
  say(self, "m-profile-[EmNAS Gym, one network, 1]\r\nm-model-[");
  if (sizeof MLPERF_MODEL > 1) {
    say(self, MLPERF_MODEL);
  } else {
    say(self, "emnas-");
    say_hex(self, board.wrong == NULL ? self->network.source : 0, 8);
  }
  say(self, "]\r\n");
}

static void timestamp(agent *self, size_t count, char **words) {
  (void)count, (void)words;
  report(self, "m-lap-us-", microseconds(self, self->ticks()), "");
}

static void results(agent *self, size_t count, char **words) {
  const agent_slot *output = &self->slots[AGENT_OUTPUT];
  (void)count, (void)words;
  if (!board.inferred) {
    say(self, "e-[There are no results before the first inference]\r\n");
    return;
  }
  say(self, "m-results-[");
  for (uint32_t i = 0; i < output->length; i++) {
    if (i > 0) say(self, ",");
    say_output(self, (int8_t)output->bytes[i] - NETWORK_OUTPUT_ZERO);
  }
  say(self, "]\r\n");
}

static void infer(agent *self, size_t count, char **words) {
  uint32_t times = 1, warm_ups = USUAL_WARM_UPS;
  if ((count > 1 && !number(words[1], MOST_RUNS, &times)) || times == 0 ||
      (count > 2 && !number(words[2], MOST_RUNS, &warm_ups))) {
    report(self, "e-[Inferences and warm-ups are numbers up to ", MOST_RUNS, "]");
    return;
  }
  if (board.received != board.expected) {
    report(self, "e-[Bytes of the input that are here: ", board.received, "]");
    return;
  }
  report(self, "m-warmup-start-", warm_ups, "");
  uint64_t start = run(self, warm_ups);
  say(self, "m-warmup-done\r\n");
  report(self, "m-infer-start-", times, "");
  start = self->ticks(); /* said later: a line takes longer than a small network */
  uint64_t end = run(self, times);
  report(self, "m-lap-us-", microseconds(self, start), "");
  report(self, "m-lap-us-", microseconds(self, end), "");
  say(self, "m-infer-done\r\n");
  agent_slot *output = &self->slots[AGENT_OUTPUT];
  output->length = (uint32_t)self->network.output_bytes;
  memcpy(output->bytes, self->arena + self->network.output, output->length);
  board.inferred = true;
  results(self, 1, words);
}

static void load(agent *self, size_t count, char **words) {
  uint32_t bytes;
  if (count < 3 || !number(words[2], MILLION, &bytes) || bytes != sizeof network_input) {
    report(self, "e-[Bytes that the network takes: ", sizeof network_input, "]");
    return;
  }
  board.expected = bytes;
  board.received = 0;
  report(self, "m-[Expecting ", bytes, " bytes]");
}

static void print(agent *self) {
  for (uint32_t i = 0; i < board.received; i++) {
    say(self, i % A_LINE == 0 ? "m-buffer-" : "-");
    say_hex(self, self->slots[AGENT_INPUT].bytes[i] ^ MLPERF_INPUT_FLIP, 2);
    if (i % A_LINE == A_LINE - 1 || i == board.received - 1) say(self, "\r\n");
  }
}

/* Takes in bytes of the input; what is beyond its end is left out. */
static void take_hex(agent *self, const char *digits) {
  if (strlen(digits) % 2 != 0) {
    say(self, "e-[Two hexadecimal digits make a byte]\r\n");
    return;
  }
  for (; *digits != '\0' && board.received < board.expected; digits += 2) {
    int high = hex_digit(digits[0]), low = hex_digit(digits[1]);
    if (high < 0 || low < 0) {
      say(self, "e-[Not a hexadecimal digit]\r\n");
      return;
    }
    self->slots[AGENT_INPUT].bytes[board.received++] =
        (uint8_t)((high << 4 | low) ^ MLPERF_INPUT_FLIP);
    if (board.received == board.expected) say(self, "m-load-done\r\n");
  }
}

static void db(agent *self, size_t count, char **words) {
  if (count < 2)
    say(self, "e-[db is followed by load, print or bytes]\r\n");
  else if (same(words[1], "load"))
    load(self, count, words);
  else if (same(words[1], "print"))
    print(self);
  else
    take_hex(self, words[1]);
}

static void help(agent *self, size_t count, char **words) {
  (void)count, (void)words;
  say(self,
      "name, profile     who this is, and which network it runs\r\n"
      "timestamp         microseconds of its clock\r\n"
      "db load N         begins an input of N bytes\r\n"
      "db HEX            its next bytes\r\n"
      "db print          its bytes so far\r\n"
      "infer N W         runs the network W times, then N times by the clock\r\n"
      "results           the last outputs\r\n");
}

static const struct {
  const char *name;
  void (*run)(agent *self, size_t count, char **words);
  bool needs_network;
} COMMANDS[] = {{"name", name, false},           {"profile", profile, false},
                {"timestamp", timestamp, false}, {"help", help, false},
                {"db", db, true},                {"infer", infer, true},
                {"results", results, true}};

static void obey(agent *self) {
  char *words[MOST_WORDS];
  size_t count = split(board.line, words);
  if (board.too_long || count == 0) {
    say(self, count == 0 ? "e-[No command]\r\n" : "e-[Longer than 80 characters]\r\n");
    return;
  }
  for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++) {
    if (!same(words[0], COMMANDS[i].name)) continue;
    const char *wrong = COMMANDS[i].needs_network ? board.wrong : NULL;
    if (wrong == NULL) {
      COMMANDS[i].run(self, count, words);
      return;
    }
    say(self, "e-[");
    say(self, wrong);
    say(self, "]\r\n");
    return;
  }
  say(self, "e-[Unknown command: ");
  say(self, words[0]);
  say(self, "]\r\n");
}

/* ------------------------------------------------------------------------------------- the port */

void agent_take(agent *self, uint8_t byte) {
  if (byte == '%') {
    if (!board.opened) open_network(self);
    board.line[board.used] = '\0';
    obey(self);
    say(self, "m-ready\r\n");
    board.used = 0;
    board.too_long = false;
  } else if (byte == '\r' || byte == '\n') {
    return; /* a person's terminal sends them */
  } else if (board.used < LONGEST) {
    board.line[board.used++] = byte < ' ' || byte > '~' ? '?' : (char)byte;
  } else {
    board.too_long = true;
  }
}
