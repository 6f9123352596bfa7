/* A network as hardware/flat_model.py writes it: checked once, then run as often as one likes.
 *
 * All numbers are little-endian 32-bit words. A header of MODEL_HEADER words, then one record for
 * each operator, then its constants. Activations lie at offsets of one arena; the file says how
 * large it is.
 */
#ifndef EMNAS_MODEL_H
#define EMNAS_MODEL_H

#include <stdint.h>

enum { MODEL_MAGIC = 0x31464d45 /* "EMF1" */, MODEL_HEADER = 10, MODEL_MOST_OPERATORS = 255 };

typedef struct {
  const int32_t *words;
  int32_t operators;
  int32_t arena_bytes;
  int32_t input, input_bytes; /* offset in the arena, and size */
  int32_t output, output_bytes;
  uint32_t source; /* CRC-32 of the .tflite file that it was made from */
} model;

/* Checks every size and offset of a file. Returns NULL, or what is wrong with it in words.
 * The bytes must be aligned to four and stay where they are while the model is in use. */
const char *model_open(model *self, const uint8_t *bytes, uint32_t length, uint32_t arena_bytes);

/* Runs the operators in turn. `after`, if not NULL, is told the number of each that is done. */
void model_run(const model *self, int8_t *arena, void (*after)(void *context, int32_t number),
               void *context);

#endif
