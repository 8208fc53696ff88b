/* SPDX-License-Identifier: Apache-2.0 */
/* Actions about when an agent may work, and for whom: rest.c. */
#ifndef TESTS_SIM_REST_H
#define TESTS_SIM_REST_H

#include "sim/sim.h"

/* It is suspended: its application leaves it alone until it resumes it. */
bool rest_asleep(const struct sim_node *n);
void rest_check(const struct sim_node *n);
bool rest_suspend(struct sim_node *n);
bool rest_resume(struct sim_node *n);
bool rest_network(struct sim_node *n);
bool rest_reconnect(struct sim_node *n);
bool rest_test(struct sim_node *n);
bool rest_user(struct sim_node *n);
int64_t rest_any_user(struct sim_node *n); /* in the device's context */
void rest_end(struct sim_node *n);         /* awake and online */

#endif
