#include "link.h"

#include <string.h>

uint16_t link_get16(const uint8_t *bytes) {
  return (uint16_t)(bytes[0] | (uint16_t)bytes[1] << 8);
}

uint32_t link_get32(const uint8_t *bytes) {
  return link_get16(bytes) | (uint32_t)link_get16(bytes + 2) << 16;
}

void link_put16(uint8_t *bytes, uint16_t value) {
  bytes[0] = (uint8_t)value;
  bytes[1] = (uint8_t)(value >> 8);
}

void link_put32(uint8_t *bytes, uint32_t value) {
  link_put16(bytes, (uint16_t)value);
  link_put16(bytes + 2, (uint16_t)(value >> 16));
}

uint32_t link_crc32(uint32_t crc, const uint8_t *bytes, size_t length) {
  /* Four bits a step: a table of 64 bytes instead of 1,024. */
  static const uint32_t table[16] = {
      0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
      0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
      0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
  crc = ~crc;
  for (size_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ table[crc & 15u];
    crc = crc >> 4 ^ table[crc & 15u];
  }
  return ~crc;
}

/* Undoes the byte stuffing in place. Returns the length, or -1 if the bytes are not stuffed. */
static long unstuff(uint8_t *bytes, size_t length) {
  size_t from = 0, to = 0;
  while (from < length) {
    size_t code = bytes[from++];
    if (code == 0 || code - 1 > length - from) return -1;
    for (size_t i = 1; i < code; i++) {
      if (bytes[from] == 0) return -1;
      bytes[to++] = bytes[from++];
    }
    if (code < 255 && from < length) bytes[to++] = 0;
  }
  return (long)to;
}

static bool parse(link_receiver *receiver, link_frame *frame) {
  long length = unstuff(receiver->bytes, receiver->used);
  if (length < LINK_HEADER + LINK_CHECKSUM || length > LINK_BODY) return false;
  size_t body = (size_t)length - LINK_CHECKSUM;
  if (link_get32(receiver->bytes + body) != link_crc32(0, receiver->bytes, body)) return false;
  frame->kind = receiver->bytes[0];
  frame->seq = link_get16(receiver->bytes + 1);
  frame->length = (uint16_t)(body - LINK_HEADER);
  frame->payload = receiver->bytes + LINK_HEADER;
  return true;
}

bool link_receive(link_receiver *receiver, uint8_t byte, link_frame *frame) {
  if (byte != 0) {
    if (receiver->used < sizeof receiver->bytes)
      receiver->bytes[receiver->used++] = byte;
    else
      receiver->too_long = true;
    return false;
  }
  bool whole = receiver->used > 0 && !receiver->too_long && parse(receiver, frame);
  receiver->used = 0;
  receiver->too_long = false;
  return whole;
}

typedef struct {
  uint8_t *line;
  size_t code; /* where the length of the present block goes */
  size_t used;
} stuffer;

static void stuff(stuffer *out, const uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (out->used - out->code == 255) { /* 254 bytes without a zero */
      out->line[out->code] = 255;
      out->code = out->used++;
    }
    if (bytes[i] != 0) {
      out->line[out->used++] = bytes[i];
    } else {
      out->line[out->code] = (uint8_t)(out->used - out->code);
      out->code = out->used++;
    }
  }
}

size_t link_pack(const link_frame *frame, uint8_t line[LINK_ON_LINE]) {
  uint8_t header[LINK_HEADER], checksum[LINK_CHECKSUM];
  header[0] = frame->kind;
  link_put16(header + 1, frame->seq);
  uint32_t crc = link_crc32(0, header, sizeof header);
  link_put32(checksum, link_crc32(crc, frame->payload, frame->length));
  stuffer out = {line, 1, 2};
  line[0] = 0;
  stuff(&out, header, sizeof header);
  stuff(&out, frame->payload, frame->length);
  stuff(&out, checksum, sizeof checksum);
  line[out.code] = (uint8_t)(out.used - out.code);
  line[out.used++] = 0;
  return out.used;
}
