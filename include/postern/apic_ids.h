/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The setting "apic-ids": the vCPUs' initial APIC IDs as a list, "0,1,300,600" or "0-3,256-259",
 * decimal, vCPU 0's first. One parser for the host command and the image, each of which checks what
 * it is given.
 *
 * SDM volume 3, "Local APIC ID" and "x2APIC ID": FFh and FFFFFFFFh mean everybody, so that they are
 * no IDs in xAPIC and in x2APIC mode.
 */
#ifndef POSTERN_APIC_IDS_H
#define POSTERN_APIC_IDS_H

#include "postern/types.h"

#define APIC_IDS_MAX       64 /* as many as a VM has vCPUs at most */
#define APIC_ID_XAPIC_MAX  0xfeu
#define APIC_ID_X2APIC_MAX 0xfffffffeu

struct apic_ids {
	u32 count; /* 0: none given, each vCPU's number is its ID */
	u32 id[APIC_IDS_MAX];
};

/* Digits at *text, which moves behind them. false: none, or a number that is no ID at all. */
static inline bool apic_ids_number(const char **text, u32 *value)
{
	u64 sum = 0;

	if (**text < '0' || **text > '9')
		return false;
	for (; **text >= '0' && **text <= '9'; (*text)++) {
		sum = sum * 10 + (u64)(**text - '0');
		if (sum > APIC_ID_X2APIC_MAX)
			return false;
	}
	*value = (u32)sum;
	return true;
}

/* The list in `text`. NULL, or what is wrong with it; *ids means nothing then. */
static inline const char *apic_ids_parse(struct apic_ids *ids, const char *text)
{
	u32 first, last;

	ids->count = 0;
	for (;; text++) {
		if (!apic_ids_number(&text, &first))
			return "not a list of APIC IDs from 0 to 4294967294";
		last = first;
		if (*text == '-') {
			text++;
			if (!apic_ids_number(&text, &last))
				return "not a list of APIC IDs from 0 to 4294967294";
		}
		if (last < first)
			return "a range that ends before it begins";
		if (last - first >= APIC_IDS_MAX - ids->count)
			return "more APIC IDs than a VM can have vCPUs";
		for (u32 i = 0; i <= last - first; i++)
			ids->id[ids->count++] = first + i;
		if (!*text)
			return NULL;
		if (*text != ',')
			return "APIC IDs are separated by commas";
	}
}

/* Whether they are those of a VM like this. NULL, or what is wrong. */
static inline const char *apic_ids_check(const struct apic_ids *ids, u32 vcpus, bool x2apic)
{
	if (!ids->count)
		return NULL;
	if (ids->count != vcpus)
		return "not as many APIC IDs as there are vCPUs";
	for (u32 i = 0; i < ids->count; i++) {
		if (ids->id[i] > APIC_ID_X2APIC_MAX)
			return "an APIC ID is the broadcast's";
		if (!x2apic && ids->id[i] > APIC_ID_XAPIC_MAX)
			return "an APIC ID above 254 needs x2APIC";
		for (u32 j = 0; j < i; j++)
			if (ids->id[i] == ids->id[j])
				return "two vCPUs with one APIC ID";
	}
	return NULL;
}

#endif
