/* The agent on Arm's MPS2 boards with a Cortex-M3, M4 or M7 (AN385, AN386, AN500), as QEMU has them.
 *
 * It speaks on UART 0 and reads the board's 25 MHz counter. Under `-icount shift=0` every
 * instruction takes a nanosecond of that counter's time: forty instructions are one tick.
 */
#include <stdint.h>
#include <string.h>

#include "../agent.h"

#ifndef BOARD
#error "compile with -DBOARD=\"its name\""
#endif

typedef struct {
  volatile uint32_t data, state, control, interrupt, divider;
} uart;
enum { SEND_FULL = 1, RECEIVE_FULL = 2 };                                  /* state */
enum { SEND_ON = 1, RECEIVE_ON = 2, RECEIVE_INTERRUPT = 8 };               /* control */
enum { RECEIVE_IRQ = 0, RECEIVE_PENDING = 2, DIVIDER = 217, TICKS = 25000000 }; /* 115,200 baud */

#define UART ((uart *)0x40004000)
#define COUNTER (*(volatile uint32_t *)0x40028018)
#define IRQ_ENABLE (*(volatile uint32_t *)0xe000e100)
#define IRQ_UNPEND (*(volatile uint32_t *)0xe000e280)
#define COPROCESSORS (*(volatile uint32_t *)0xe000ed88)
enum { FPU = 0xf << 20, PAINT = 0x5a };

/* Set by the linker. */
extern uint32_t data_source[], data_start[], data_end[], bss_start[], bss_end[];
extern uint8_t text_start[], text_end[], stack_bottom[], stack_top[];

#define NOT_ZEROED __attribute__((section(".noinit"), aligned(16)))
static uint8_t model_bytes[1u << 20] NOT_ZEROED;
static uint8_t input[1u << 17] NOT_ZEROED, output[1u << 15] NOT_ZEROED;
static int8_t arena[1u << 19] NOT_ZEROED;

static void send_all(const uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) {
    while (UART->state & SEND_FULL) {
    }
    UART->data = bytes[i];
  }
}

/* The counter has 32 bits and is read at least once before it comes round again. */
static uint64_t ticks(void) {
  static uint32_t last, rounds;
  uint32_t now = COUNTER;
  if (now < last) rounds++;
  last = now;
  return (uint64_t)rounds << 32 | now;
}

static void paint_stack(void) {
  volatile uint8_t *at = stack_bottom, *here;
  __asm volatile("mov %0, sp" : "=r"(here));
  while (at < here) *at++ = PAINT;
}

static uint32_t stack_used(void) {
  const uint8_t *at = stack_bottom;
  while (at < stack_top && *at == PAINT) at++;
  return (uint32_t)(stack_top - at);
}

static void serve(void) {
  static agent self = {
      .name = BOARD,
      .ticks_per_second = TICKS,
      .ticks = ticks,
      .stack_used = stack_used,
      .arena = arena,
      .arena_bytes = sizeof arena,
      .slots = {{.bytes = model_bytes, .capacity = sizeof model_bytes},
                {.bytes = input, .capacity = sizeof input},
                {.bytes = output, .capacity = sizeof output}},
      .send = send_all,
  };
  self.firmware = link_crc32(0, text_start, (size_t)(text_end - text_start));
  UART->divider = DIVIDER;
  UART->control = SEND_ON | RECEIVE_ON | RECEIVE_INTERRUPT;
  IRQ_ENABLE = 1u << RECEIVE_IRQ;
  __asm volatile("cpsid i"); /* what is pending ends the sleep all the same; no handler is needed */
  for (;;) {
    while (UART->state & RECEIVE_FULL) agent_take(&self, (uint8_t)UART->data);
    __asm volatile("wfi");
    UART->interrupt = RECEIVE_PENDING;
    IRQ_UNPEND = 1u << RECEIVE_IRQ;
  }
}

void reset(void);

void reset(void) {
#ifdef __ARM_FP
  COPROCESSORS |= FPU;
  __asm volatile("dsb\n isb");
#endif
  paint_stack();
  memcpy(data_start, data_source, (size_t)((uint8_t *)data_end - (uint8_t *)data_start));
  memset(bss_start, 0, (size_t)((uint8_t *)bss_end - (uint8_t *)bss_start));
  serve();
}

static void stop(void) {
  for (;;) __asm volatile("wfi");
}

/* What the processor starts from; a fault stops the board, which its host sees as silence. */
__attribute__((section(".vectors"), used)) static const struct {
  const uint8_t *stack;
  void (*handlers[15])(void);
} vectors = {stack_top, {reset, stop, stop, stop, stop, stop, NULL, NULL, NULL, NULL, stop, stop,
                         NULL, stop, stop}};
