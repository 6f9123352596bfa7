/* Runs the network of network.h on one input and compares its output with the reference kernels.
 *
 * For a board of your own: keep model.c, kernels.c and network.h, and call model_open once and
 * model_run for every input, which is written to the arena at `input`.
 */
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "network.h"

static int32_t arena[(NETWORK_ARENA_BYTES + 3) / 4];

int main(void) {
  model self;
  int8_t *bytes = (int8_t *)arena;
  const char *wrong = model_open(&self, (const uint8_t *)network, sizeof network, sizeof arena);
  if (wrong != NULL) {
    printf("the network cannot be opened: %s\n", wrong);
    return 2;
  }
  memcpy(bytes + self.input, network_input, (size_t)self.input_bytes);
  model_run(&self, bytes, NULL, NULL);
  for (int32_t i = 0; i < self.output_bytes; i++)
    printf("%d: %d of 256\n", (int)i, bytes[self.output + i] + 128);
  if (memcmp(bytes + self.output, network_output, (size_t)self.output_bytes) != 0) {
    printf("this is not what the reference kernels compute\n");
    return 1;
  }
  printf("as the reference kernels compute it, to the bit; arena %d bytes\n", (int)self.arena_bytes);
  return 0;
}
