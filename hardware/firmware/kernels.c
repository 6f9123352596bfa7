#include "kernels.h"

#include <string.h>

enum { LOWEST = -128, HIGHEST = 127, ADD_SHIFT = 20 };

/* ------------------------------------------------------------------------------ fixed point
 * The arithmetic of gemmlowp, on which TensorFlow Lite's int8 results are defined. Sums wrap, so
 * that numbers from outside cannot make a program undefined. */

static int32_t wrapped_sum(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

/* High half of 2ab, rounded to nearest; the one case that does not fit saturates. */
static int32_t doubling_high(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  int64_t product = (int64_t)a * b;
  int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
  return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

/* value / 2^exponent, rounded to nearest, halves away from zero. */
static int32_t shifted_right(int32_t value, int32_t exponent) {
  int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1u);
  int32_t threshold = (mask >> 1) + (value < 0);
  return (value >> exponent) + ((value & mask) > threshold);
}

static int32_t scaled(int32_t value, multiplier by) {
  int32_t left = by.exponent > 0 ? by.exponent : 0, right = by.exponent > 0 ? 0 : -by.exponent;
  int32_t raised = (int32_t)((uint32_t)value << left);
  return shifted_right(doubling_high(raised, by.significand), right);
}

/* As `scaled`, but rounded once at the end: how dense layers are defined. Halves go up. */
static int32_t scaled_once(int32_t value, multiplier by) {
  int32_t shift = 31 - by.exponent;
  return (int32_t)(((int64_t)value * by.significand + ((int64_t)1 << (shift - 1))) >> shift);
}

static int8_t bounded(int32_t value, int32_t low, int32_t high) {
  return (int8_t)(value < low ? low : value > high ? high : value);
}

/* ---------------------------------------------------------------------------------- windows */

/* Where along one axis the window reads from the map: its elements first … past - 1. */
typedef struct {
  int32_t start, first, past;
} span;

static span along(int32_t index, int32_t stride, int32_t before, int32_t kernel, int32_t dilation,
                  int32_t size) {
  span s = {index * stride - before, 0, kernel};
  while (s.first < s.past && s.start + s.first * dilation < 0) s.first++;
  while (s.past > s.first && s.start + (s.past - 1) * dilation >= size) s.past--;
  return s;
}

static span rows_of(const window *w, int32_t y) {
  return along(y, w->stride_height, w->top, w->kernel_height, w->dilation_height, w->in.height);
}

static span columns_of(const window *w, int32_t x) {
  return along(x, w->stride_width, w->left, w->kernel_width, w->dilation_width, w->in.width);
}

static const int8_t *pixel(const window *w, const int8_t *in, const span *rows, const span *columns,
                           int32_t ky, int32_t kx) {
  int32_t y = rows->start + ky * w->dilation_height, x = columns->start + kx * w->dilation_width;
  return in + (y * w->in.width + x) * w->in.channels;
}

static int8_t finished(const window *w, const window_weights *weights, int32_t channel,
                       int32_t sum) {
  multiplier by = {weights->significands[channel], weights->exponents[channel]};
  return bounded(wrapped_sum(scaled(sum, by), w->out_zero), w->low, w->high);
}

void kernel_conv(const window *w, const window_weights *weights, const int8_t *in, int8_t *out) {
  int32_t depth = w->in.channels, width = w->kernel_width;
  for (int32_t y = 0; y < w->out.height; y++) {
    span rows = rows_of(w, y);
    for (int32_t x = 0; x < w->out.width; x++) {
      span columns = columns_of(w, x);
      const int8_t *kernel = weights->kernel;
      for (int32_t c = 0; c < w->out.channels; c++) {
        int32_t sum = weights->bias[c];
        for (int32_t ky = rows.first; ky < rows.past; ky++)
          for (int32_t kx = columns.first; kx < columns.past; kx++) {
            const int8_t *from = pixel(w, in, &rows, &columns, ky, kx);
            const int8_t *by = kernel + (ky * width + kx) * depth;
            for (int32_t i = 0; i < depth; i++)
              sum = wrapped_sum(sum, (from[i] - w->in_zero) * by[i]);
          }
        kernel += w->kernel_height * width * depth;
        *out++ = finished(w, weights, c, sum);
      }
    }
  }
}

static inline int8_t depthwise_at(const window *w, const window_weights *weights,
                                  const int8_t *in, const span *rows, const span *columns,
                                  int32_t c) {
  int32_t sum = weights->bias[c];
  for (int32_t ky = rows->first; ky < rows->past; ky++)
    for (int32_t kx = columns->first; kx < columns->past; kx++) {
      int32_t by = weights->kernel[(ky * w->kernel_width + kx) * w->out.channels + c];
      int32_t from = pixel(w, in, rows, columns, ky, kx)[c];
      sum = wrapped_sum(sum, (from - w->in_zero) * by);
    }
  return finished(w, weights, c, sum);
}

void kernel_depthwise(const window *w, const window_weights *weights, const int8_t *in,
                      int8_t *out) {
  for (int32_t y = 0; y < w->out.height; y++) {
    span rows = rows_of(w, y);
    for (int32_t x = 0; x < w->out.width; x++) {
      span columns = columns_of(w, x);
      for (int32_t c = 0; c < w->out.channels; c++)
        *out++ = depthwise_at(w, weights, in, &rows, &columns, c);
    }
  }
}

void kernel_depthwise_in_place(const window *w, const window_weights *weights, int8_t *map,
                               int8_t *plane) {
  int32_t channels = w->out.channels;
  for (int32_t c = 0; c < channels; c++) {
    int8_t *out = plane;
    for (int32_t y = 0; y < w->out.height; y++) {
      span rows = rows_of(w, y);
      for (int32_t x = 0; x < w->out.width; x++) {
        span columns = columns_of(w, x);
        *out++ = depthwise_at(w, weights, map, &rows, &columns, c);
      }
    }
    int8_t *to = map + c;
    for (int8_t *from = plane; from < out; from++, to += channels) *to = *from;
  }
}

void kernel_dense(const window *w, const window_weights *weights, const int8_t *in, int8_t *out) {
  const int8_t *by = weights->kernel;
  for (int32_t c = 0; c < w->out.channels; c++, by += w->in.channels) {
    int32_t sum = weights->bias[c];
    for (int32_t i = 0; i < w->in.channels; i++)
      sum = wrapped_sum(sum, (in[i] - w->in_zero) * by[i]);
    multiplier scale = {weights->significands[c], weights->exponents[c]};
    out[c] = bounded(wrapped_sum(scaled_once(sum, scale), w->out_zero), w->low, w->high);
  }
}

void kernel_max_pool(const window *w, const int8_t *in, int8_t *out) {
  for (int32_t y = 0; y < w->out.height; y++) {
    span rows = rows_of(w, y);
    for (int32_t x = 0; x < w->out.width; x++) {
      span columns = columns_of(w, x);
      for (int32_t c = 0; c < w->out.channels; c++) {
        int32_t most = LOWEST;
        for (int32_t ky = rows.first; ky < rows.past; ky++)
          for (int32_t kx = columns.first; kx < columns.past; kx++) {
            int32_t from = pixel(w, in, &rows, &columns, ky, kx)[c];
            if (from > most) most = from;
          }
        *out++ = bounded(most, w->low, w->high);
      }
    }
  }
}

void kernel_average_pool(const window *w, const int8_t *in, int8_t *out) {
  for (int32_t y = 0; y < w->out.height; y++) {
    span rows = rows_of(w, y);
    for (int32_t x = 0; x < w->out.width; x++) {
      span columns = columns_of(w, x);
      int32_t count = (rows.past - rows.first) * (columns.past - columns.first);
      if (count < 1) count = 1; /* a window on zeros alone */
      for (int32_t c = 0; c < w->out.channels; c++) {
        int32_t sum = 0;
        for (int32_t ky = rows.first; ky < rows.past; ky++)
          for (int32_t kx = columns.first; kx < columns.past; kx++)
            sum += pixel(w, in, &rows, &columns, ky, kx)[c];
        int32_t half = sum > 0 ? count / 2 : -(count / 2);
        *out++ = bounded((sum + half) / count, w->low, w->high);
      }
    }
  }
}

void kernel_pad(const window *w, const int8_t *in, int8_t *out) {
  int32_t row = w->in.width * w->in.channels;
  size_t all = (size_t)w->out.height * (size_t)w->out.width * (size_t)w->out.channels;
  memset(out, (uint8_t)w->in_zero, all);
  for (int32_t y = 0; y < w->in.height; y++) {
    int32_t to = ((y + w->top) * w->out.width + w->left) * w->out.channels;
    memmove(out + to, in + y * row, (size_t)row);
  }
}

void kernel_mean(const operand *scale, int32_t out_zero, const int8_t *in, int8_t *out,
                 int32_t pixels, int32_t channels) {
  for (int32_t c = 0; c < channels; c++) {
    int32_t sum = 0;
    for (int32_t i = 0; i < pixels; i++) sum = wrapped_sum(sum, in[i * channels + c] - scale->zero);
    out[c] = bounded(wrapped_sum(scaled(sum, scale->scale), out_zero), LOWEST, HIGHEST);
  }
}

void kernel_slice(const slice *s, const int8_t *in, int8_t *out) {
  for (int32_t y = 0; y < s->out.height; y++)
    for (int32_t x = 0; x < s->out.width; x++) {
      int32_t row = s->row + y * s->row_step, column = s->column + x * s->column_step;
      const int8_t *from = in + (row * s->in.width + column) * s->in.channels + s->channel;
      for (int32_t c = 0; c < s->out.channels; c++) *out++ = from[c * s->channel_step];
    }
}

/* -------------------------------------------------------------------------- element by element */

void kernel_add(const operand in[2], const operand *sum, const int32_t bounds[2], const int8_t *a,
                const int8_t *b, int8_t *out, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    int32_t left = scaled((a[i] - in[0].zero) * (1 << ADD_SHIFT), in[0].scale);
    int32_t right = scaled((b[i] - in[1].zero) * (1 << ADD_SHIFT), in[1].scale);
    int32_t both = scaled(wrapped_sum(left, right), sum->scale);
    out[i] = bounded(wrapped_sum(both, sum->zero), bounds[0], bounds[1]);
  }
}

void kernel_mul(const operand in[2], const operand *product, const int32_t bounds[2],
                const int8_t *a, const int8_t *b, int8_t *out, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    int32_t both = scaled((a[i] - in[0].zero) * (b[i] - in[1].zero), product->scale);
    out[i] = bounded(wrapped_sum(both, product->zero), bounds[0], bounds[1]);
  }
}

void kernel_concat_part(const concat_part *part, int32_t rows, int32_t stride, int8_t *out) {
  for (int32_t row = 0; row < rows; row++)
    memmove(out + row * stride, part->values + row * part->channels, (size_t)part->channels);
}

void kernel_table(const int8_t table[256], const int8_t *in, int8_t *out, int32_t count) {
  for (int32_t i = 0; i < count; i++) out[i] = table[(uint8_t)in[i]];
}

/* ------------------------------------------------------------------------------------ softmax
 * In the reference's fixed point: exponentials have 31 bits behind the point, their sum 19. */

enum { STEP_BITS = 26, SUM_BITS = 19, QUARTER = 1 << 24, EIGHTH = 1 << 28 };

/* value · 2^exponent for an exponent above 0, as much as fits. */
static int32_t shifted_left(int32_t value, int32_t exponent) {
  int64_t raised = (int64_t)value * ((int64_t)1 << exponent);
  return (int32_t)(raised > INT32_MAX ? INT32_MAX : raised < INT32_MIN ? INT32_MIN : raised);
}

/* e^x for x in [-1/4, 0): Taylor's series around -1/8; x and the result in steps of 2^-31. */
static int32_t exponential_of_quarter(int32_t x) {
  const int32_t at_eighth = 1895147668, third = 715827883; /* e^(-1/8), 1/3 */
  int32_t y = x + EIGHTH, y2 = doubling_high(y, y), y3 = doubling_high(y2, y);
  int32_t y4_of_4 = shifted_right(doubling_high(y2, y2), 2);
  int32_t higher = shifted_right(doubling_high(y4_of_4 + y3, third) + y2, 1);
  return at_eighth + doubling_high(at_eighth, y + higher);
}

/* e^x for x <= 0 in steps of 2^-26: of the remainder of a quarter, then for each bit above it. */
static int32_t exponential(int32_t x) {
  static const int32_t of_bits[7] = {/* e^-(2^k), k from -2 to 4 */
                                     1672461947, 1302514674, 790015084, 290630308,
                                     39332535,   720401,     242};
  if (x == 0) return INT32_MAX;
  int32_t remainder = (x & (QUARTER - 1)) - QUARTER;
  int32_t above = (int32_t)((uint32_t)remainder - (uint32_t)x);
  int32_t result = exponential_of_quarter(shifted_left(remainder, 31 - STEP_BITS));
  for (int32_t k = 0; k < 7; k++)
    if (above & (QUARTER << k)) result = doubling_high(result, of_bits[k]);
  return result;
}

/* 1 / (1 + x) for x in [0, 1], in steps of 2^-31: Newton's method from a line. */
static int32_t inverse_of_one_plus(int32_t x) {
  const int32_t intercept = 1515870810, slope = -1010580540; /* 48/17, -32/17 in 2^-29 */
  int64_t whole = (int64_t)x + INT32_MAX;
  int32_t half = (int32_t)((whole + (whole >= 0 ? 1 : -1)) / 2);
  int32_t guess = wrapped_sum(intercept, doubling_high(half, slope));
  for (int i = 0; i < 3; i++) {
    int32_t missing = wrapped_sum(1 << 29, -doubling_high(half, guess));
    guess = wrapped_sum(guess, shifted_left(doubling_high(guess, missing), 2));
  }
  return shifted_left(guess, 1);
}

static int32_t below(const softmax_scale *scale, int32_t difference) {
  int32_t raised = (int32_t)((uint32_t)difference << scale->scale.exponent);
  return doubling_high(raised, scale->scale.significand);
}

void kernel_softmax(const softmax_scale *scale, const int8_t *in, int8_t *out, int32_t rows,
                    int32_t channels) {
  for (int32_t row = 0; row < rows; row++, in += channels, out += channels) {
    int32_t most = LOWEST, sum = 0, headroom = 0;
    for (int32_t i = 0; i < channels; i++)
      if (in[i] > most) most = in[i];
    for (int32_t i = 0; i < channels; i++)
      if (in[i] - most >= scale->least)
        sum += shifted_right(exponential(below(scale, in[i] - most)), 31 - SUM_BITS);
    while (((uint32_t)sum << headroom & 0x80000000u) == 0) headroom++; /* the sum is at least one */
    int32_t inverse = inverse_of_one_plus((int32_t)(((uint32_t)sum << headroom) - 0x80000000u));
    for (int32_t i = 0; i < channels; i++) {
      int32_t share = 0;
      if (in[i] - most >= scale->least) {
        int32_t part = doubling_high(inverse, exponential(below(scale, in[i] - most)));
        share = shifted_right(part, 31 - SUM_BITS - headroom + 31 - 8);
      }
      out[i] = bounded(share + LOWEST, LOWEST, HIGHEST);
    }
  }
}

/* --------------------------------------------------------------------------------------- others */

void kernel_clamp(const int32_t bounds[2], const int8_t *in, int8_t *out, int32_t count) {
  for (int32_t i = 0; i < count; i++) out[i] = bounded(in[i], bounds[0], bounds[1]);
}

void kernel_requantize(const operand *scale, int32_t out_zero, const int8_t *in, int8_t *out,
                       int32_t count) {
  for (int32_t i = 0; i < count; i++)
    out[i] = bounded(wrapped_sum(scaled(in[i] - scale->zero, scale->scale), out_zero), LOWEST,
                     HIGHEST);
}
