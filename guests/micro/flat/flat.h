/* SPDX-License-Identifier: BSD-2-Clause */
/* What the flat guest's two files share. */
#ifndef FLAT_H
#define FLAT_H

#define FLAT_AP_CODE  0x8000 /* where the other processors begin */
#define FLAT_MAX_CPUS 8

#endif
