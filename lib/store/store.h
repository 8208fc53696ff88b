/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encrypted state database: opening and transactions are in database.h, the records of each
 * table and what can be done to them in a header beside the file that does it (conn.h, conn.c).
 */
#ifndef SX_STORE_H
#define SX_STORE_H

#include "store/database.h"
#include "store/user.h"
#include "store/conn.h"
#include "store/queue.h"
#include "store/ratchet.h"
#include "store/age.h"
#include "store/snd_msg.h"
#include "store/sent.h"
#include "store/rcv_msg.h"
#include "store/conf.h"
#include "store/invitation.h"
#include "store/link.h"
#include "store/noise.h"
#include "store/command.h"
#include "store/event.h"
#include "store/rotation.h"

#endif
