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

/* Opens what lies in the model's slot. Returns NULL, or why it cannot run, in words. */
static const char *open_network(agent *self) {
  const agent_slot *slot = &self->slots[AGENT_MODEL];
  if (!slot->whole) return "no model";
  return model_open(&self->network, slot->bytes, slot->length, self->arena_bytes);
}

/* Whether a network and what it shall read are there; a refusal if not. */
static bool ready(agent *self) {
  const agent_slot *input = &self->slots[AGENT_INPUT];
  const char *wrong = open_network(self);
  if (wrong == NULL && (!input->whole || input->length != (uint32_t)self->network.input_bytes))
    wrong = "no input of the model's size";
  if (wrong == NULL && (uint32_t)self->network.output_bytes > self->slots[AGENT_OUTPUT].capacity)
    wrong = "the model's output is larger than the memory for it";
  if (wrong != NULL) refuse(self, wrong);
  return wrong == NULL;
}

/* One inference; the network reads its input afresh, since the arena is used over again. */
static uint64_t infer(agent *self, void (*after)(void *context, int32_t number)) {
  const model *network = &self->network;
  memcpy(self->arena + network->input, self->slots[AGENT_INPUT].bytes,
         (size_t)network->input_bytes);
  uint64_t start = self->since = self->ticks();
  model_run(network, self->arena, after, self);
  return self->ticks() - start;
}

static void keep_output(agent *self) {
  agent_slot *slot = &self->slots[AGENT_OUTPUT];
  slot->length = slot->received = (uint32_t)self->network.output_bytes;
  memcpy(slot->bytes, self->arena + self->network.output, slot->length);
  slot->crc = link_crc32(0, slot->bytes, slot->length);
  slot->whole = true;
}

/* Says that the work goes on, so that the host waits; not more often than four times a second. */
static void tell(agent *self) {
  uint64_t now = self->ticks();
  if (now - self->told < self->ticks_per_second / 4) return;
  uint8_t line[LINK_ON_LINE];
  link_frame frame = {AGENT_PROGRESS, self->last.seq, 0, NULL};
  self->told = now;
  self->send(line, link_pack(&frame, line));
}

static void run(request *asked) {
  agent *self = asked->self;
  if (asked->left != 4) {
    refuse(self, "not a number of repeats and one of warm-ups");
    return;
  }
  uint16_t repeats = link_get16(asked->at), warm_ups = link_get16(asked->at + 2);
  if (repeats < 1 || repeats > AGENT_MOST_REPEATS || warm_ups > AGENT_MOST_REPEATS) {
    refuse(self, "1 to 100 repeats after up to 100 warm-ups");
    return;
  }
  if (!ready(self)) return;
  self->told = self->ticks();
  for (int i = 0; i < warm_ups; i++) {
    infer(self, NULL);
    tell(self);
  }
  for (size_t i = 0; i < repeats; i++) {
    uint64_t took = infer(self, NULL);
    link_put32(self->answer + 8 * i, (uint32_t)took);
    link_put32(self->answer + 8 * i + 4, (uint32_t)(took >> 32));
    tell(self);
  }
  keep_output(self);
  agree(self, 8u * repeats);
}

static void note_operator(void *context, int32_t number) {
  agent *self = context;
  uint64_t now = self->ticks(), took = now - self->since;
  link_put32(self->answer + 4 * number, took > UINT32_MAX ? UINT32_MAX : (uint32_t)took);
  self->since = self->ticks();
}

static void profile(request *asked) {
  agent *self = asked->self;
  if (!ready(self)) return;
  infer(self, note_operator);
  keep_output(self);
  agree(self, 4 * (size_t)self->network.operators);
}

static void report(request *asked) {
  agent *self = asked->self;
  bool there = open_network(self) == NULL;
  link_put32(self->answer, self->arena_bytes);
  link_put32(self->answer + 4, there ? (uint32_t)self->network.arena_bytes : 0);
  link_put32(self->answer + 8, self->stack_used != NULL ? self->stack_used() : 0);
  link_put32(self->answer + 12, there ? (uint32_t)self->network.operators : 0);
  link_put32(self->answer + 16, there ? self->network.source : 0);
  link_put32(self->answer + 20, self->firmware);
  agree(self, 24);
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
    case AGENT_RUN: run(&asked); break;
    case AGENT_PROFILE: profile(&asked); break;
    case AGENT_REPORT: report(&asked); break;
    default: refuse(self, "there is no such request"); break;
  }
}

void agent_take(agent *self, uint8_t byte) {
  link_frame frame;
  if (link_receive(&self->receiver, byte, &frame)) handle(self, &frame);
}
