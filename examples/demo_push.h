/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMO_PUSH_H
#define DEMO_PUSH_H

#include "demo_tour.h"

bool step_push(struct tour *t);

#endif
