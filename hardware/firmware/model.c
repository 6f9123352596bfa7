#include "model.h"

#include <stdbool.h>
#include <stddef.h>

#include "kernels.h"

enum { /* words of the header */
  MAGIC,
  LENGTH,
  OPERATORS,
  ARENA,
  INPUT,
  INPUT_BYTES,
  OUTPUT,
  OUTPUT_BYTES,
  SOURCE
};
enum { /* codes of the operators; a record begins with its code and its number of words */
  CONV = 1,
  DEPTHWISE,
  DENSE,
  MAX_POOL,
  AVERAGE_POOL,
  PAD,
  ADD,
  MUL,
  CONCAT,
  TABLE,
  SOFTMAX,
  CLAMP,
  REQUANTIZE,
  SLICE,
  WEIGH,
  MEAN,
  DEPTHWISE_IN_PLACE
};
enum { RECORD_HEAD = 2, MOST_PARTS = 16, MOST_SIZE = 1 << 15, MOST_EXPONENT = 30, MOST_CLASSES = 511 };

/* What is being read: the file, and the words of one record that are not read yet. */
typedef struct {
  const int32_t *words; /* of the file */
  int32_t length;       /* of the file, in bytes */
  int32_t arena_bytes;
  const int32_t *at, *end;
  const char *wrong; /* the first thing that is */
} reader;

typedef struct {
  int32_t in, out; /* offsets in the arena */
  int32_t plane;   /* of DEPTHWISE_IN_PLACE, likewise */
  window window;
  window_weights weights;
} window_record;

typedef struct {
  int32_t in[2], out;
  int32_t rows, count; /* WEIGH reads the same `count` factors for every row; others have one */
  operand operands[2], result;
  int32_t bounds[2];
} pair_record;

typedef struct {
  int32_t in, out; /* offsets in the arena */
  slice slice;
} slice_record;

typedef struct {
  int32_t out, rows, stride, parts;
  int32_t offsets[MOST_PARTS];
  int32_t channels[MOST_PARTS];
} concat_record;

typedef struct {
  int32_t in, out, rows, channels; /* rows · channels elements */
  const void *table;
  softmax_scale softmax;
  int32_t bounds[2];
  operand scale;
  int32_t out_zero;
} map_record;

/* --------------------------------------------------------------------------- reading a record */

static void check(reader *from, bool holds, const char *words) {
  if (!holds && from->wrong == NULL) from->wrong = words;
}

static int32_t word(reader *from) {
  if (from->at == from->end) {
    check(from, false, "an operator's record is too short");
    return 0;
  }
  return *from->at++;
}

/* A number in its range: what is computed from it cannot overflow, even where it was wrong. */
static int32_t between(reader *from, int32_t low, int32_t high) {
  int32_t value = word(from);
  bool good = low <= value && value <= high;
  check(from, good, "a number of an operator is out of its range");
  return good ? value : low;
}

static int32_t size(reader *from) { return between(from, 1, MOST_SIZE); }

static int32_t channels(reader *from) { return between(from, 1, from->arena_bytes); }

static int32_t int8_value(reader *from) { return between(from, INT8_MIN, INT8_MAX); }

static map_shape shape(reader *from) {
  map_shape s;
  s.height = size(from);
  s.width = size(from);
  s.channels = channels(from);
  return s;
}

static int64_t elements(const map_shape *s) {
  return (int64_t)s->height * s->width * s->channels; /* at most 2^61 */
}

/* An offset in the arena at which so many bytes lie. */
static int32_t activation(reader *from, int64_t bytes) {
  int32_t offset = between(from, 0, from->arena_bytes);
  check(from, bytes <= from->arena_bytes - (int64_t)offset, "a map lies beyond the arena");
  return offset;
}

/* A constant of the file: its offset is read, its bytes must lie inside. */
static const void *constant(reader *from, int64_t bytes, int32_t alignment) {
  int32_t offset = between(from, 0, from->length);
  check(from, bytes <= from->length - (int64_t)offset, "a constant lies beyond the file");
  check(from, offset % alignment == 0, "a constant is not aligned");
  return (const char *)from->words + (from->wrong == NULL ? offset : 0);
}

static multiplier scale(reader *from) {
  multiplier m;
  m.significand = word(from);
  m.exponent = between(from, -MOST_EXPONENT - 1, MOST_EXPONENT);
  return m;
}

static void bounds(reader *from, int32_t limits[2]) {
  limits[0] = int8_value(from);
  limits[1] = int8_value(from);
  check(from, limits[0] <= limits[1], "an activation has its bounds the wrong way round");
}

static void read_weights(reader *from, window_record *r, int32_t code) {
  const window *w = &r->window;
  int64_t taps = (int64_t)w->kernel_height * w->kernel_width;
  int64_t depth = code == CONV || code == DENSE ? w->in.channels : 1;
  check(from, taps * depth <= from->length, "a constant lies beyond the file");
  if (from->wrong != NULL) return; /* now no product is more than 2^62 */
  r->weights.kernel = constant(from, taps * depth * w->out.channels, 1);
  r->weights.bias = constant(from, 4 * (int64_t)w->out.channels, 4);
  r->weights.significands = constant(from, 4 * (int64_t)w->out.channels, 4);
  r->weights.exponents = constant(from, 4 * (int64_t)w->out.channels, 4);
  if (from->wrong != NULL) return;
  for (int32_t c = 0; c < w->out.channels; c++) {
    int32_t exponent = r->weights.exponents[c];
    check(from, -MOST_EXPONENT - 1 <= exponent && exponent <= MOST_EXPONENT,
          "a channel's scale is out of its range");
  }
}

static void read_window(reader *from, window_record *r, int32_t code) {
  window *w = &r->window;
  w->in = shape(from);
  r->in = activation(from, elements(&w->in));
  w->out = shape(from);
  r->out = activation(from, elements(&w->out));
  w->kernel_height = size(from);
  w->kernel_width = size(from);
  w->stride_height = size(from);
  w->stride_width = size(from);
  w->dilation_height = between(from, 1, 64);
  w->dilation_width = between(from, 1, 64);
  w->top = between(from, 0, MOST_SIZE);
  w->left = between(from, 0, MOST_SIZE);
  w->in_zero = int8_value(from);
  w->out_zero = int8_value(from);
  w->low = int8_value(from);
  w->high = int8_value(from);
  check(from, w->low <= w->high, "an activation has its bounds the wrong way round");
  check(from, (int64_t)w->out.height * w->stride_height <= INT32_MAX / 2 &&
                  (int64_t)w->out.width * w->stride_width <= INT32_MAX / 2,
        "a window slides too far");
  if (code == DENSE)
    check(from, elements(&w->in) == w->in.channels && elements(&w->out) == w->out.channels &&
                    w->kernel_height == 1 && w->kernel_width == 1,
          "a dense layer on a map");
  if (code == CONV || code == DENSE)
    read_weights(from, r, code);
  else
    check(from, w->in.channels == w->out.channels, "an operator changes the number of channels");
  if (code == DEPTHWISE || code == DEPTHWISE_IN_PLACE) read_weights(from, r, code);
  if (code == DEPTHWISE_IN_PLACE) {
    r->plane = activation(from, (int64_t)w->out.height * w->out.width);
    check(from, r->in == r->out && w->in.height == w->out.height && w->in.width == w->out.width &&
                    w->stride_height == 1 && w->stride_width == 1,
          "an operator works in place on a map that it does not keep");
  }
  if (code == PAD)
    check(from, w->top + w->in.height <= w->out.height && w->left + w->in.width <= w->out.width,
          "a padded map is smaller than what it holds");
}

static operand read_operand(reader *from) {
  operand o;
  o.zero = int8_value(from);
  o.scale = scale(from);
  return o;
}

static void read_pair(reader *from, pair_record *r, int32_t code) {
  r->rows = code == WEIGH ? between(from, 1, from->arena_bytes) : 1;
  r->count = between(from, 1, from->arena_bytes);
  int64_t all = (int64_t)r->rows * r->count;
  r->in[0] = activation(from, all);
  r->in[1] = activation(from, r->count);
  r->out = activation(from, all);
  for (int i = 0; i < 2; i++) r->operands[i] = read_operand(from);
  r->result = read_operand(from);
  bounds(from, r->bounds);
}

/* A first element and a step along one axis: the last element that is taken must be there. */
static void read_axis(reader *from, int32_t *first, int32_t *step, int32_t in, int32_t out) {
  *first = between(from, 0, from->arena_bytes);
  *step = between(from, 1, from->arena_bytes);
  check(from, *first + (int64_t)(out - 1) * *step < in, "a slice reaches beyond its map");
}

static void read_slice(reader *from, slice_record *r) {
  slice *s = &r->slice;
  s->in = shape(from);
  r->in = activation(from, elements(&s->in));
  s->out = shape(from);
  r->out = activation(from, elements(&s->out));
  read_axis(from, &s->row, &s->row_step, s->in.height, s->out.height);
  read_axis(from, &s->column, &s->column_step, s->in.width, s->out.width);
  read_axis(from, &s->channel, &s->channel_step, s->in.channels, s->out.channels);
}

static void read_concat(reader *from, concat_record *r) {
  r->rows = between(from, 1, from->arena_bytes);
  r->stride = channels(from);
  r->out = activation(from, (int64_t)r->rows * r->stride);
  r->parts = between(from, 1, MOST_PARTS);
  int64_t filled = 0;
  for (int32_t i = 0; from->wrong == NULL && i < r->parts; i++) {
    r->channels[i] = channels(from);
    r->offsets[i] = activation(from, (int64_t)r->rows * r->channels[i]);
    filled += r->channels[i];
  }
  check(from, filled == r->stride, "the parts of a map do not fill it");
}

static void read_softmax(reader *from, map_record *r) {
  check(from, r->channels <= MOST_CLASSES, "a softmax over too many");
  r->softmax.scale.significand = between(from, 1 << 30, INT32_MAX);
  r->softmax.scale.exponent = between(from, 0, 31);
  r->softmax.least = between(from, -255, 0);
  check(from, (int64_t)r->softmax.least * ((int64_t)1 << r->softmax.scale.exponent) >= INT32_MIN,
        "a softmax that reaches too far");
}

static void read_map(reader *from, map_record *r, int32_t code) {
  r->rows = between(from, 1, from->arena_bytes);
  r->channels = channels(from);
  int64_t count = (int64_t)r->rows * r->channels;
  r->in = activation(from, count);
  r->out = activation(from, code == MEAN ? r->channels : count);
  switch (code) {
    case TABLE: r->table = constant(from, 256, 1); break;
    case SOFTMAX: read_softmax(from, r); break;
    case CLAMP: bounds(from, r->bounds); break;
    default: /* REQUANTIZE, MEAN */
      r->scale = read_operand(from);
      r->out_zero = int8_value(from);
      break;
  }
}

/* ----------------------------------------------------------------------------------- running */

typedef union {
  window_record window;
  pair_record pair;
  slice_record slice;
  concat_record concat;
  map_record map;
} record;

static void read_record(reader *from, int32_t code, record *r) {
  switch (code) {
    case CONV:
    case DEPTHWISE:
    case DENSE:
    case MAX_POOL:
    case AVERAGE_POOL:
    case PAD:
    case DEPTHWISE_IN_PLACE: read_window(from, &r->window, code); break;
    case ADD:
    case MUL:
    case WEIGH: read_pair(from, &r->pair, code); break;
    case SLICE: read_slice(from, &r->slice); break;
    case CONCAT: read_concat(from, &r->concat); break;
    case TABLE:
    case SOFTMAX:
    case CLAMP:
    case REQUANTIZE:
    case MEAN: read_map(from, &r->map, code); break;
    default: check(from, false, "there is no such operator"); break;
  }
}

static void run_concat(const concat_record *r, int8_t *arena) {
  int8_t *out = arena + r->out;
  for (int32_t i = 0; i < r->parts; i++) {
    concat_part part = {arena + r->offsets[i], r->channels[i]};
    kernel_concat_part(&part, r->rows, r->stride, out);
    out += r->channels[i];
  }
}

static void run_pair(const pair_record *r, int32_t code, int8_t *arena) {
  const int8_t *a = arena + r->in[0], *b = arena + r->in[1];
  int8_t *out = arena + r->out;
  if (code == ADD)
    kernel_add(r->operands, &r->result, r->bounds, a, b, out, r->count);
  else
    for (int32_t row = 0; row < r->rows; row++, a += r->count, out += r->count)
      kernel_mul(r->operands, &r->result, r->bounds, a, b, out, r->count);
}

static void run_map(const map_record *r, int32_t code, int8_t *arena) {
  const int8_t *in = arena + r->in;
  int8_t *out = arena + r->out;
  int32_t count = r->rows * r->channels;
  switch (code) {
    case TABLE: kernel_table(r->table, in, out, count); break;
    case SOFTMAX: kernel_softmax(&r->softmax, in, out, r->rows, r->channels); break;
    case CLAMP: kernel_clamp(r->bounds, in, out, count); break;
    case MEAN: kernel_mean(&r->scale, r->out_zero, in, out, r->rows, r->channels); break;
    default: kernel_requantize(&r->scale, r->out_zero, in, out, count); break;
  }
}

static void run_record(const record *r, int32_t code, int8_t *arena) {
  const window *w = &r->window.window;
  switch (code) {
    case CONV:
      kernel_conv(w, &r->window.weights, arena + r->window.in, arena + r->window.out);
      break;
    case DENSE:
      kernel_dense(w, &r->window.weights, arena + r->window.in, arena + r->window.out);
      break;
    case DEPTHWISE:
      kernel_depthwise(w, &r->window.weights, arena + r->window.in, arena + r->window.out);
      break;
    case DEPTHWISE_IN_PLACE:
      kernel_depthwise_in_place(w, &r->window.weights, arena + r->window.in,
                                arena + r->window.plane);
      break;
    case MAX_POOL: kernel_max_pool(w, arena + r->window.in, arena + r->window.out); break;
    case AVERAGE_POOL: kernel_average_pool(w, arena + r->window.in, arena + r->window.out); break;
    case PAD: kernel_pad(w, arena + r->window.in, arena + r->window.out); break;
    case ADD:
    case MUL:
    case WEIGH: run_pair(&r->pair, code, arena); break;
    case SLICE: kernel_slice(&r->slice.slice, arena + r->slice.in, arena + r->slice.out); break;
    case CONCAT: run_concat(&r->concat, arena); break;
    default: run_map(&r->map, code, arena); break;
  }
}

/* Reads the record that begins at `at` and returns where the next one does. */
static const int32_t *next(reader *from, const int32_t *at, const int32_t *past, record *r) {
  int64_t left = past - at;
  if (left < RECORD_HEAD || at[1] < RECORD_HEAD || at[1] > left) {
    check(from, false, "an operator's record lies beyond the file");
    return past;
  }
  from->at = at + RECORD_HEAD;
  from->end = at + at[1];
  read_record(from, at[0], r);
  check(from, from->at == from->end, "an operator's record is too long");
  return at + at[1];
}

static reader reader_of(const model *self) {
  reader from = {self->words, self->words[LENGTH], self->arena_bytes, NULL, NULL, NULL};
  return from;
}

static void check_header(reader *from, const model *self) {
  check(from, 0 < self->operators && self->operators <= MODEL_MOST_OPERATORS,
        "too many operators, or none");
  check(from, self->input_bytes > 0 && self->output_bytes > 0, "no input or no output");
  check(from, self->input >= 0 && self->output >= 0 &&
                  (int64_t)self->input + self->input_bytes <= self->arena_bytes &&
                  (int64_t)self->output + self->output_bytes <= self->arena_bytes,
        "the input or the output lies beyond the arena");
}

const char *model_open(model *self, const uint8_t *bytes, uint32_t length, uint32_t arena_bytes) {
  record r;
  self->words = (const int32_t *)(const void *)bytes;
  if (length < 4 * MODEL_HEADER || length % 4 != 0) return "too short for a model";
  if (self->words[MAGIC] != MODEL_MAGIC) return "not a model of this firmware's format";
  if ((uint32_t)self->words[LENGTH] != length || length > INT32_MAX) return "a model cut short";
  self->operators = self->words[OPERATORS];
  self->arena_bytes = self->words[ARENA];
  self->input = self->words[INPUT];
  self->input_bytes = self->words[INPUT_BYTES];
  self->output = self->words[OUTPUT];
  self->output_bytes = self->words[OUTPUT_BYTES];
  self->source = (uint32_t)self->words[SOURCE];
  if (self->arena_bytes < 1) return "a model without an arena";
  if ((uint32_t)self->arena_bytes > arena_bytes) return "the model needs a larger arena";
  reader from = reader_of(self);
  check_header(&from, self);
  const int32_t *at = self->words + MODEL_HEADER, *past = self->words + length / 4;
  for (int32_t i = 0; from.wrong == NULL && i < self->operators; i++) at = next(&from, at, past, &r);
  return from.wrong;
}

void model_run(const model *self, int8_t *arena, void (*after)(void *context, int32_t number),
               void *context) {
  record r;
  reader from = reader_of(self);
  const int32_t *at = self->words + MODEL_HEADER, *past = self->words + self->words[LENGTH] / 4;
  for (int32_t i = 0; i < self->operators; i++) {
    int32_t code = at[0];
    at = next(&from, at, past, &r);
    run_record(&r, code, arena);
    if (after != NULL) after(context, i);
  }
}
