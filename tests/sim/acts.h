/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions; plan.c has the table of them.
 *
 *     conns.c   connections and what is sent over them
 *     devices.c closing, killing, setting back a device; its noise
 *     faults.c  what goes wrong around it, and time that passes
 *     rest.c    networks and suspension: when an agent may work
 *     users.c   users, their servers, their policies of rotation
 *     push.c    notifiers, fetching, looking at a database that is open for reading alone
 *     queues.c  more and fewer queues of one connection
 *     batch.c   one call that sends to many connections
 *     links.c   the data behind short links, written and read
 *     database.c  backups, restoring them, other keys
 *     pq.c      post-quantum keys on and off
 *     ask.c     what servers know of queues
 */
#ifndef TESTS_SIM_ACTS_H
#define TESTS_SIM_ACTS_H

#include "sim/app.h"

/* ---- plan.c ---- */

bool act_tolerated(simplex_rc rc); /* OK; or false, because something was made to fail */
bool act_pump(void);               /* for sim_run: applications do their tasks; goes on */
int32_t act_any_pq(void);

/* ---- conns.c ---- */

struct app_end *act_any_end(const struct sim_node *n, bool (*fits)(const struct app_end *e));
bool act_deletable(const struct app_end *e);
bool conns_create(struct sim_node *n);
bool conns_create_short(struct sim_node *n);
bool conns_address(struct sim_node *n);
bool conns_join(struct sim_node *n);
void conns_look(struct sim_node *n, struct app_end *offer); /* at its short link */
bool conns_delete(struct sim_node *n);
bool conns_send(struct sim_node *n);
bool conns_subscribe(struct sim_node *n);
bool conns_switch(struct sim_node *n);
bool conns_sync(struct sim_node *n);
void conns_synchronise(struct app_end *e);
void conns_meet(void); /* device 0 knows the others, of which 1 is hostile from now on */

/* ---- devices.c ---- */

bool devices_close(struct sim_node *n);
bool devices_kill(struct sim_node *n);
bool devices_copy(struct sim_node *n);
bool devices_roll_back(struct sim_node *n);
bool devices_go_back_midway(struct sim_node *n);
void devices_rolled_back(const struct sim_node *n, uint64_t tick);
void devices_free(void); /* the copies */
bool devices_noise(struct sim_node *n);
void devices_quiet(void); /* no noise any more */

/* ---- faults.c ---- */

bool faults_fail(struct sim_node *n); /* a statement or an allocation will */
bool faults_clock(struct sim_node *n);
bool faults_wait(struct sim_node *n);
bool faults_break(struct sim_node *n);
bool faults_deaf(struct sim_node *n);
bool faults_repeat(struct sim_node *n);
bool faults_server(struct sim_node *n);

/* ---- rest.c ---- */

/* It is suspended: its application leaves it alone until it resumes it. */
bool rest_asleep(const struct sim_node *n);
bool rest_going(const struct sim_node *n); /* it is being suspended: it takes nothing new */
void rest_check(const struct sim_node *n);
bool rest_suspend(struct sim_node *n);
bool rest_resume(struct sim_node *n);
bool rest_network(struct sim_node *n);
bool rest_reconnect(struct sim_node *n);
bool rest_test(struct sim_node *n);
void rest_end(struct sim_node *n); /* awake and online */

/* ---- users.c ---- */

void users_open(void);
bool users_make(struct sim_node *n);
bool users_delete(struct sim_node *n);
bool users_servers(struct sim_node *n);
bool users_move(struct sim_node *n); /* gives an invitation to another one */
bool users_service(struct sim_node *n);
bool users_policy(struct sim_node *n);
int64_t users_any(struct sim_node *n); /* in the device's context */
void users_on_deleted(struct sim_node *n, int64_t user);
void users_rolled_back(const struct sim_node *n, uint64_t tick);
bool users_settled(void);
void users_end(struct sim_node *n); /* no policies any more */

/* ---- push.c ---- */

void push_open(void);
bool push_notify(struct sim_node *n);
bool push_fetch(struct sim_node *n);
bool push_only_create(struct sim_node *n);
bool push_peek(struct sim_node *n); /* its agent is closed */
void push_end(struct sim_node *n);  /* connections are subscribed again */
bool push_peeking(const struct sim_node *n);
bool push_creates_only(const struct sim_node *n);
void push_on_fetched(struct app_end *e, const simplex_event *ev);
void push_on_peeked(struct app_end *e, const simplex_event *ev);
bool push_fetching(const struct app_end *e);
/* The notifiers of all connections are what was wanted, here and on the servers. */
bool push_as_wanted(void);

/* ---- queues.c ---- */

bool queues_change(struct sim_node *n);

/* ---- batch.c ---- */

bool batch_send(struct sim_node *n);

/* ---- links.c ---- */

void links_open(void);
simplex_bytes links_data(const struct app_end *e, unsigned version);
bool links_change(struct sim_node *n);
bool links_look_again(struct sim_node *n);
void links_look(struct app_end *e); /* it is about to look */
void links_on_data(struct app_end *e, const simplex_event *ev);
void links_on_error(struct app_end *e);
bool links_dropped(const struct app_end *e);
bool links_may_be_refused(const struct app_end *e);
void links_rolled_back(const struct sim_node *n);
bool links_settled(void);
/* One after the other, when all has settled: writes, reads, looks at what was read. */
void links_end(void);
void links_look_all(void);
void links_check(void);

/* ---- database.c ---- */

void database_open(void);
bool database_backup(struct sim_node *n);
bool database_restore(struct sim_node *n);
bool database_rekey(struct sim_node *n);
void database_rolled_back(const struct sim_node *n, uint64_t tick);

/* ---- pq.c ---- */

uint32_t pq_any_flag(void);
bool pq_longest(struct sim_node *n);
void pq_choose(void); /* who wants them in the end */
void pq_talk(bool first);
void pq_check(void);

/* ---- ask.c ---- */

void ask_open(void);
bool ask_queues(struct sim_node *n);
void ask_on_info(struct app_end *e, const simplex_event *ev);
bool ask_settled(void);
void ask_all(void);
void ask_check(void);

#endif
