/* The operators of an int8 network, to the bit as TensorFlow Lite's reference kernels compute them.
 *
 * Maps lie row by row with their channels together. What a kernel is given was checked by model.c:
 * no kernel looks at a size again. Maps of a damaged model may overlap: results are then worthless,
 * but nothing is harmed.
 */
#ifndef EMNAS_KERNELS_H
#define EMNAS_KERNELS_H

#include <stdint.h>

typedef struct {
  int32_t height, width, channels;
} map_shape;

/* real = significand · 2^(exponent - 31) */
typedef struct {
  int32_t significand, exponent;
} multiplier;

/* A window that slides over a map: what convolutions and pools have in common. */
typedef struct {
  map_shape in, out;
  int32_t kernel_height, kernel_width;
  int32_t stride_height, stride_width;
  int32_t dilation_height, dilation_width;
  int32_t top, left; /* zeros around the map */
  int32_t in_zero, out_zero;
  int32_t low, high; /* the activation's bounds */
} window;

typedef struct {
  const int8_t *kernel;
  const int32_t *bias;
  const int32_t *significands; /* one a channel */
  const int32_t *exponents;
} window_weights;

typedef struct {
  int32_t zero;
  multiplier scale;
} operand;

typedef struct {
  const int8_t *values;
  int32_t channels;
} concat_part;

/* Along each axis: its first element, and every so-manieth from there on. */
typedef struct {
  map_shape in, out;
  int32_t row, column, channel;
  int32_t row_step, column_step, channel_step;
} slice;

/* How far below the largest input the others lie, in steps of 2^-26 */
typedef struct {
  multiplier scale;
  int32_t least; /* further below, an input counts for nothing */
} softmax_scale;

void kernel_conv(const window *w, const window_weights *weights, const int8_t *in, int8_t *out);
void kernel_depthwise(const window *w, const window_weights *weights, const int8_t *in, int8_t *out);
/* Over the map that it reads, channel by channel; the plane holds one channel. */
void kernel_depthwise_in_place(const window *w, const window_weights *weights, int8_t *map,
                               int8_t *plane);
void kernel_dense(const window *w, const window_weights *weights, const int8_t *in, int8_t *out);
void kernel_max_pool(const window *w, const int8_t *in, int8_t *out);
void kernel_average_pool(const window *w, const int8_t *in, int8_t *out);
void kernel_pad(const window *w, const int8_t *in, int8_t *out); /* top, left; fills with in_zero */
void kernel_add(const operand in[2], const operand *sum, const int32_t bounds[2], const int8_t *a,
                const int8_t *b, int8_t *out, int32_t count);
void kernel_mul(const operand in[2], const operand *product, const int32_t bounds[2],
                const int8_t *a, const int8_t *b, int8_t *out, int32_t count);
void kernel_mean(const operand *scale, int32_t out_zero, const int8_t *in, int8_t *out,
                 int32_t pixels, int32_t channels); /* the scale divides by the pixels */
void kernel_slice(const slice *s, const int8_t *in, int8_t *out);
void kernel_concat_part(const concat_part *part, int32_t rows, int32_t stride, int8_t *out);
void kernel_table(const int8_t table[256], const int8_t *in, int8_t *out, int32_t count);
void kernel_softmax(const softmax_scale *scale, const int8_t *in, int8_t *out, int32_t rows,
                    int32_t channels);
void kernel_clamp(const int32_t bounds[2], const int8_t *in, int8_t *out, int32_t count);
void kernel_requantize(const operand *scale, int32_t out_zero, const int8_t *in, int8_t *out,
                       int32_t count);

#endif
