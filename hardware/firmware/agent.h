/* What a device answers: who it is, and memory that the host fills, checks and reads. */
#ifndef EMNAS_AGENT_H
#define EMNAS_AGENT_H

#include "link.h"

enum { AGENT_VERSION = 1, AGENT_SLOTS = 3 };
enum { AGENT_MODEL, AGENT_INPUT, AGENT_OUTPUT }; /* slots */
enum {                                           /* requests */
  AGENT_HELLO = 0x01,  /* "EMNS", version -> "EMNS", version, slots, payload, ticks, capacities, name */
  AGENT_BEGIN = 0x02,  /* slot, length, crc -> bytes that are here already */
  AGENT_PUT = 0x03,    /* slot, offset, bytes -> bytes that are here now */
  AGENT_COMMIT = 0x04, /* slot -> crc */
  AGENT_READ = 0x05    /* slot, offset, length -> bytes */
};
enum { AGENT_ANSWER = 0x80, AGENT_REFUSAL = 0xff };

typedef struct {
  uint8_t *bytes;
  uint32_t capacity;
  uint32_t length;   /* as announced */
  uint32_t crc;      /* as announced */
  uint32_t received; /* without a hole, from the start */
  bool whole;        /* checked against the crc */
} agent_slot;

typedef struct {
  const char *name;
  uint32_t ticks_per_second;
  agent_slot slots[AGENT_SLOTS];
  void (*send)(const uint8_t *bytes, size_t length);
  link_receiver receiver;
  uint8_t answer[LINK_PAYLOAD]; /* the last one, repeated if its request comes again */
  link_frame last;              /* kind and seq of the request that it answers */
  uint8_t last_kind;            /* of the answer */
  bool answered;
} agent;

/* Takes in one byte from the line and answers the request that it completes, if any. */
void agent_take(agent *self, uint8_t byte);

#endif
