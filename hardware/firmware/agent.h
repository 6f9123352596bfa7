/* What a device answers: who it is, memory that the host fills, checks and reads, and how long the
 * network that lies in it takes. */
#ifndef EMNAS_AGENT_H
#define EMNAS_AGENT_H

#include "link.h"
#include "model.h"

enum { AGENT_VERSION = 1, AGENT_SLOTS = 3 };
enum { AGENT_MODEL, AGENT_INPUT, AGENT_OUTPUT }; /* slots */
enum {                                           /* requests */
  AGENT_HELLO = 0x01,  /* "EMNS", version -> "EMNS", version, slots, payload, ticks, capacities, name */
  AGENT_BEGIN = 0x02,  /* slot, length, crc -> bytes that are here already */
  AGENT_PUT = 0x03,    /* slot, offset, bytes -> bytes that are here now */
  AGENT_COMMIT = 0x04, /* slot -> crc */
  AGENT_READ = 0x05,   /* slot, offset, length -> bytes */
  AGENT_RUN = 0x06,    /* repeats, warm-ups -> ticks of each repeat; the output lies in its slot */
  AGENT_PROFILE = 0x07, /* -> ticks of each operator, once */
  AGENT_REPORT = 0x08  /* -> arena there, arena needed, stack used, operators, two checksums */
};
enum { AGENT_ANSWER = 0x80, AGENT_PROGRESS = 0xfe, AGENT_REFUSAL = 0xff };
enum { AGENT_MOST_REPEATS = 100 };

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
  uint32_t firmware;            /* checksum of this program; 0 if it does not know */
  uint64_t (*ticks)(void);      /* the clock; it never goes back */
  uint32_t (*stack_used)(void); /* the most so far, in bytes; NULL if it cannot be known */
  int8_t *arena;
  uint32_t arena_bytes;
  agent_slot slots[AGENT_SLOTS];
  void (*send)(const uint8_t *bytes, size_t length);
  model network; /* the one that was opened last */
  link_receiver receiver;
  uint8_t answer[LINK_PAYLOAD]; /* the last one, repeated if its request comes again */
  link_frame last;              /* kind and seq of the request that it answers */
  uint8_t last_kind;            /* of the answer */
  bool answered;
  uint64_t since; /* when the operator that runs began */
  uint64_t told;  /* when the host last heard that the work goes on */
} agent;

/* Takes in one byte from the line and answers the request that it completes, if any. */
void agent_take(agent *self, uint8_t byte);

#endif
