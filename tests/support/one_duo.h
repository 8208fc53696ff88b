/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents, mostly connected ones, for each test of a program, one after the other. */
#ifndef TESTS_ONE_DUO_H
#define TESTS_ONE_DUO_H

#include "support/agents.h"

extern struct duo d;

/* For cmocka, before and after each test. */
int opened_duo(void **state); /* before they are connected */
int connected_duo(void **state);
int close_duo(void **state);

#endif
