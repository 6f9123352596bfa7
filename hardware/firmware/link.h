/* Frames on a serial line, as hardware/link/framing.py describes them: COBS, a number, a CRC-32. */
#ifndef EMNAS_LINK_H
#define EMNAS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  LINK_PAYLOAD = 1024,
  LINK_HEADER = 3,
  LINK_CHECKSUM = 4,
  LINK_BODY = LINK_HEADER + LINK_PAYLOAD + LINK_CHECKSUM,
  LINK_ENCODED = LINK_BODY + LINK_BODY / 254 + 1,
  LINK_ON_LINE = LINK_ENCODED + 2 /* with the zero bytes at both ends */
};

typedef struct {
  uint8_t kind;
  uint16_t seq;
  uint16_t length;
  const uint8_t *payload;
} link_frame;

typedef struct {
  uint8_t bytes[LINK_ENCODED];
  size_t used;
  bool too_long;
} link_receiver;

/* Takes in one byte. True once it completes a frame, whose payload lies in the receiver until the
 * next call. What is damaged is left out without a word: the other end asks again. */
bool link_receive(link_receiver *receiver, uint8_t byte, link_frame *frame);

/* Writes a frame as it goes on the line and returns its length, at most LINK_ON_LINE. */
size_t link_pack(const link_frame *frame, uint8_t line[LINK_ON_LINE]);

/* CRC-32 as zlib has it; start with 0 and go on with what the last call returned. */
uint32_t link_crc32(uint32_t crc, const uint8_t *bytes, size_t length);

uint16_t link_get16(const uint8_t *bytes);
uint32_t link_get32(const uint8_t *bytes);
void link_put16(uint8_t *bytes, uint16_t value);
void link_put32(uint8_t *bytes, uint32_t value);

#endif
