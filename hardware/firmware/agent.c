#include "agent.h"

#include <string.h>

static const uint8_t MAGIC[4] = {'E', 'M', 'N', 'S'};

typedef struct {
  agent *self;
  const uint8_t *at; /* of the request, what is not read yet */
  size_t left;
} request;

static void answer(agent *self, uint8_t kind, size_t length) {
  uint8_t line[LINK_ON_LINE];
  link_frame frame = {kind, self->last.seq, (uint16_t)length, self->answer};
  self->last_kind = kind;
  self->last.length = frame.length;
  self->answered = true;
  self->send(line, link_pack(&frame, line));
}

static void refuse(agent *self, const char *words) {
  size_t length = strlen(words);
  memcpy(self->answer, words, length);
  answer(self, AGENT_REFUSAL, length);
}

static void agree(agent *self, size_t length) {
  answer(self, self->last.kind | AGENT_ANSWER, length);
}

/* The slot that a request names; NULL, and a refusal, if there is none. */
static agent_slot *slot_of(request *asked, size_t rest) {
  if (asked->left < 1 + rest) {
    refuse(asked->self, "the request is too short");
    return NULL;
  }
  uint8_t number = asked->at[0];
  if (number >= AGENT_SLOTS) {
    refuse(asked->self, "there is no such slot");
    return NULL;
  }
  asked->at++;
  asked->left--;
  return &asked->self->slots[number];
}

static void hello(request *asked) {
  agent *self = asked->self;
  if (asked->left < 5 || memcmp(asked->at, MAGIC, sizeof MAGIC) != 0) {
    refuse(self, "not a greeting of this protocol");
    return;
  }
  if (asked->at[4] != AGENT_VERSION) {
    refuse(self, "this device speaks version 1 of the protocol only");
    return;
  }
  uint8_t *out = self->answer;
  memcpy(out, MAGIC, sizeof MAGIC);
  out[4] = AGENT_VERSION;
  out[5] = AGENT_SLOTS;
  link_put16(out + 6, LINK_PAYLOAD);
  link_put32(out + 8, self->ticks_per_second);
  for (size_t i = 0; i < AGENT_SLOTS; i++) link_put32(out + 12 + 4 * i, self->slots[i].capacity);
  size_t length = 12 + 4 * AGENT_SLOTS, name = strlen(self->name);
  memcpy(out + length, self->name, name);
  agree(self, length + name);
}

static void begin(request *asked) {
  agent_slot *slot = slot_of(asked, 8);
  if (slot == NULL) return;
  uint32_t length = link_get32(asked->at), crc = link_get32(asked->at + 4);
  if (length > slot->capacity) {
    refuse(asked->self, "larger than the memory of this slot");
    return;
  }
  if (length != slot->length || crc != slot->crc) { /* else an upload that broke off goes on */
    slot->length = length;
    slot->crc = crc;
    slot->received = 0;
    slot->whole = false;
  }
  link_put32(asked->self->answer, slot->received);
  agree(asked->self, 4);
}

static void put(request *asked) {
  agent_slot *slot = slot_of(asked, 4);
  if (slot == NULL) return;
  uint32_t offset = link_get32(asked->at);
  size_t count = asked->left - 4;
  if (offset > slot->received) {
    refuse(asked->self, "bytes before these are missing");
    return;
  }
  if (count > slot->length - offset) {
    refuse(asked->self, "beyond the announced length");
    return;
  }
  memcpy(slot->bytes + offset, asked->at + 4, count);
  if (offset + count > slot->received) slot->received = (uint32_t)(offset + count);
  slot->whole = false;
  link_put32(asked->self->answer, slot->received);
  agree(asked->self, 4);
}

static void commit(request *asked) {
  agent_slot *slot = slot_of(asked, 0);
  if (slot == NULL) return;
  if (slot->received != slot->length) {
    refuse(asked->self, "not all bytes are here");
    return;
  }
  if (link_crc32(0, slot->bytes, slot->length) != slot->crc) {
    slot->received = 0;
    refuse(asked->self, "the checksum differs: send it again");
    return;
  }
  slot->whole = true;
  link_put32(asked->self->answer, slot->crc);
  agree(asked->self, 4);
}

static void read_back(request *asked) {
  agent_slot *slot = slot_of(asked, 6);
  if (slot == NULL) return;
  uint32_t offset = link_get32(asked->at);
  uint16_t count = link_get16(asked->at + 4);
  if (!slot->whole) {
    refuse(asked->self, "nothing whole lies in this slot");
    return;
  }
  if (count > LINK_PAYLOAD || offset > slot->length || count > slot->length - offset) {
    refuse(asked->self, "beyond the end");
    return;
  }
  memcpy(asked->self->answer, slot->bytes + offset, count);
  agree(asked->self, count);
}

static void handle(agent *self, const link_frame *frame) {
  if (self->answered && frame->kind == self->last.kind && frame->seq == self->last.seq &&
      frame->kind != AGENT_HELLO) { /* asked again: say it again, do nothing twice */
    answer(self, self->last_kind, self->last.length);
    return;
  }
  self->last.kind = frame->kind;
  self->last.seq = frame->seq;
  request asked = {self, frame->payload, frame->length};
  switch (frame->kind) {
    case AGENT_HELLO: hello(&asked); break;
    case AGENT_BEGIN: begin(&asked); break;
    case AGENT_PUT: put(&asked); break;
    case AGENT_COMMIT: commit(&asked); break;
    case AGENT_READ: read_back(&asked); break;
    default: refuse(self, "there is no such request"); break;
  }
}

void agent_take(agent *self, uint8_t byte) {
  link_frame frame;
  if (link_receive(&self->receiver, byte, &frame)) handle(self, &frame);
}
