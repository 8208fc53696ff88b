/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: connections to other people, over SMP servers, with end-to-end encryption.
 *
 * An agent owns one encrypted database file and one thread. Its functions may be called from any
 * thread: they post to the agent's thread and return when what they did is on disk. What takes
 * the network follows as events, either through one callback on the agent's thread or, when no
 * callback is configured, through simplex_agent_next_event.
 *
 * Life of a connection (I initiates, J joins):
 *
 *     I: simplex_agent_create        -> INV(link)        hand the link to J out of band
 *     J: simplex_agent_join(link)                        J's information goes to I
 *     I: CONF(conf, info)            -> simplex_agent_allow(conf, info)
 *     J: INFO(info), CON             I: CON              both: simplex_agent_send
 *     MSG                            -> simplex_agent_ack
 *
 * A contact address can be given to many people (O owns it, R asks to be connected):
 *
 *     O: simplex_agent_create_address -> INV(link)       publish the link
 *     R: simplex_agent_join(link)                        R's information goes to O
 *     O: REQ(request, info)          -> simplex_agent_accept(request, info), or _reject
 *     R: CONF(conf, info)            -> simplex_agent_allow(conf, info)
 *     O: INFO(info), CON              R: CON
 *
 * Either kind of link can be short: what it leads to is kept, encrypted and signed, by the server
 * (simplex_agent_create_short). Who has one can look at it before joining:
 *
 *     I: simplex_agent_create_short  -> INV(full link), LINK(short link)
 *     J: simplex_agent_look(link)    -> LDATA            simplex_agent_join(link) as above
 *
 * Both sides may be offline at any step. Everything survives a crash at any moment: what was
 * promised is continued when the agent is opened again, and durable events that the application
 * had not finished handling are shown again.
 */
#ifndef SIMPLEX_AGENT_H
#define SIMPLEX_AGENT_H

#include "simplex/agent/handles.h"    /* an agent, an event */
#include "simplex/agent/open.h"       /* configuration, opening, closing, the database */
#include "simplex/agent/connect.h"    /* invitations, contact addresses, short links */
#include "simplex/agent/messages.h"   /* sending, acknowledging, receiving */
#include "simplex/agent/connection.h" /* what is known of one, a new ratchet, deleting */
#include "simplex/agent/events.h"     /* all events and what they carry */
#include "simplex/agent/queues.h"     /* rotation, several queues */
#include "simplex/agent/users.h"      /* users and their servers */
#include "simplex/agent/network.h"    /* reconnecting, suspending, the state of servers */
#include "simplex/agent/push.h"       /* notifications, fetching */
#include "simplex/agent/noise.h"      /* noise traffic */

#endif
