/* SPDX-License-Identifier: BSD-2-Clause */
/* The serial port COM1: a 16550A at 3F8h, IRQ 4. National Semiconductor PC16550D datasheet. */
#ifndef PLATFORM_UART_H
#define PLATFORM_UART_H

#include "platform/line.h"
#include "postern/sync.h"

struct vm;

#define UART_PORT      0x3f8
#define UART_FIFO_SIZE 16
#define UART_TX_SIZE   256

struct uart {
	struct spinlock lock;
	struct vm *vm; /* (i) */
	/* All [lock]. */
	struct irq_line line;
	u8 ier, lcr, mcr, fcr, scratch;
	u8 divisor[2];
	u8 lsr_errors;     /* error bits of LSR, cleared by reading it */
	u8 msr_delta;      /* 3:0 of MSR, cleared by reading it */
	bool thre_pending; /* the transmitter-empty interrupt waits */
	u8 rx[UART_FIFO_SIZE];
	u32 rx_head, rx_count;
	u8 tx[UART_TX_SIZE]; /* on its way to the console */
	u32 tx_count;
};

void uart_init(struct uart *uart, struct vm *vm);
/* Fetch console input, give waiting output to the console. Any processor, no locks held. */
void uart_poll(struct uart *uart);
/* Give waiting output to the console. Any processor, no locks held. */
void uart_flush(struct uart *uart);

#endif
