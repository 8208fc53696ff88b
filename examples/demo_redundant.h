/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMO_REDUNDANT_H
#define DEMO_REDUNDANT_H

#include "demo_tour.h"

bool step_redundant(struct tour *t);

#endif
