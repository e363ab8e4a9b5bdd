/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of that file, on a processor: see rules_run.c. */
#include "tests/model/rules_msi_test.c"
