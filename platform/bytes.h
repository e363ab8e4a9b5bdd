/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices on the ISA bus are one byte wide: a wider access is so many byte accesses at ascending
 * ports. These two do the splitting for devices whose handlers know bytes only.
 */
#ifndef PLATFORM_BYTES_H
#define PLATFORM_BYTES_H

#include "postern/types.h"

static inline u64 bytes_read(u8 (*read8)(void *device, u32 offset), void *device, u64 offset,
                             u32 size)
{
	u64 value = 0;

	for (u32 i = 0; i < size; i++)
		value |= (u64)read8(device, (u32)offset + i) << (8 * i);
	return value;
}

static inline void bytes_write(void (*write8)(void *device, u32 offset, u8 value), void *device,
                               u64 offset, u32 size, u64 value)
{
	for (u32 i = 0; i < size; i++)
		write8(device, (u32)offset + i, (u8)(value >> (8 * i)));
}

#endif
