/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema, as the sequence of its changes. A published migration is never edited: its SHA-256 is
 * on record in every database. A change of the schema is a new entry at the end.
 *
 * Tables are named as in the reference. Ids of connections and queues are never reused
 * (AUTOINCREMENT); ids of commands and events only grow while the store is open, which is all
 * their readers need and saves writing the sequence table. What belongs to a connection goes with
 * it: by ON DELETE CASCADE where an index starts with conn_id, otherwise by sx_store_conn_delete.
 *
 * A commit encrypts each page that it changed, which is most of what a message costs. So the tables
 * of the messages have no more indexes than they must, and what changes together stands together:
 *   - the ratchet is a column of connections: both change with every message;
 *   - messages to send are found by the row number that their delivery has;
 *   - a message received is its own event: `seq` counts on from the same number as event_id;
 *   - hashes of received messages are only appended, looked for from the newest back, and removed
 *     from the front.
 */
#include "store/migrate.h"

/* Parts, because of what C compilers must accept as the length of a string. */
static const char initial_queues[] =
    "CREATE TABLE database_age (\n" /* one row */
    " one INTEGER PRIMARY KEY CHECK (one = 1),\n"
    " database_id BLOB NOT NULL,\n"
    " age INTEGER NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE users (\n"
    " user_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " active INTEGER NOT NULL,\n"
    " deleted INTEGER NOT NULL,\n"     /* its connections are being deleted */
    " own_servers INTEGER NOT NULL,\n" /* those of user_servers; else of the configuration */
    " servers_hash BLOB,\n"            /* of either list, to notice a change */
    " servers_version INTEGER NOT NULL,\n"
    " servers_changed_at INTEGER NOT NULL,\n"
    " created_at INTEGER NOT NULL\n"
    ") STRICT;\n"
    "INSERT INTO users VALUES (1, 1, 0, 0, NULL, 0, 0, 0);\n" /* SX_USER_DEFAULT */

    "CREATE TABLE user_servers (\n"
    " user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,\n"
    " position INTEGER NOT NULL,\n"
    " server BLOB NOT NULL,\n" /* the address as it was given, with the password */
    " operator_id INTEGER NOT NULL,\n"
    " flags INTEGER NOT NULL,\n" /* enum sx_server_flags */
    " PRIMARY KEY (user_id, position)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE connections (\n"
    " conn_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " user_id INTEGER NOT NULL REFERENCES users,\n"
    " role TEXT NOT NULL,\n"
    " state TEXT NOT NULL,\n"
    " agent_version INTEGER NOT NULL,\n"
    " pq_support INTEGER NOT NULL,\n"
    " deleted INTEGER NOT NULL,\n"
    " subscribe INTEGER NOT NULL,\n"
    " last_internal_msg_id INTEGER NOT NULL,\n"
    " last_internal_snd_msg_id INTEGER NOT NULL,\n"
    " last_external_snd_msg_id INTEGER NOT NULL,\n"
    " rcv_msg_count INTEGER NOT NULL,\n" /* that came, whatever their numbers */
    " last_snd_msg_hash BLOB,\n"
    " last_rcv_msg_hash BLOB,\n"
    " ratchet_sync_state INTEGER NOT NULL,\n"
    " rcv_queue_count INTEGER NOT NULL,\n" /* that the application wants */
    " peer_several INTEGER NOT NULL,\n"    /* the peer is known to use several queues */
    " rcv_others INTEGER NOT NULL,\n"      /* new keys and the like, whose ids are left out next */
    " gap_first INTEGER NOT NULL,\n"       /* that the application was not told of; 0: none */
    " gap_last INTEGER NOT NULL,\n"
    " old_copy INTEGER NOT NULL,\n"        /* keys of this ratchet may have been used */
    " crossed INTEGER NOT NULL,\n"         /* the peer uses a ratchet that is not here */
    " suspended INTEGER NOT NULL,\n"       /* its queues are to take nothing more */
    " created_at INTEGER NOT NULL,\n"
    " ratchet_state BLOB\n" /* last: a long one continues on other pages */
    ") STRICT;\n"
    "CREATE INDEX connections_user ON connections (user_id, conn_id);\n"

    "CREATE TABLE farewells (\n" /* deleted ones that deliver what was sent before */
    " conn_id INTEGER PRIMARY KEY REFERENCES connections ON DELETE CASCADE,\n"
    " end_by INTEGER NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE rcv_queues (\n"
    " rcv_queue_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " host TEXT NOT NULL,\n" /* all host names and the port: the address that a MSG is found by */
    " port INTEGER NOT NULL,\n"
    " server BLOB NOT NULL,\n" /* the whole server in its binary form */
    " rcv_id BLOB,\n"
    " snd_id BLOB,\n"
    " rcv_auth_key BLOB,\n"
    " rcv_dh_key BLOB,\n"
    " rcv_dh_secret BLOB,\n"
    " e2e_key BLOB,\n"
    " e2e_dh_secret BLOB,\n"
    " sender_key BLOB,\n"
    " queue_mode INTEGER NOT NULL,\n"
    " smp_client_version INTEGER NOT NULL,\n"
    " status TEXT NOT NULL,\n"
    " rcv_primary INTEGER NOT NULL,\n"
    " deleted INTEGER NOT NULL,\n"
    " delete_errors INTEGER NOT NULL,\n"
    " switch_status TEXT NOT NULL,\n"          /* where the rotation of this queue is */
    " replace_rcv_queue_id INTEGER NOT NULL,\n" /* what this one replaces; 0: nothing */
    " suspended INTEGER NOT NULL\n"             /* its server takes nothing more for it */
    ") STRICT;\n"
    "CREATE UNIQUE INDEX rcv_queues_address ON rcv_queues (rcv_id, port, host);\n"
    "CREATE INDEX rcv_queues_conn ON rcv_queues (conn_id, rcv_primary DESC, rcv_queue_id);\n"

    "CREATE TABLE rcv_queue_counts (\n" /* of connections with several: small, often written */
    " rcv_queue_id INTEGER PRIMARY KEY REFERENCES rcv_queues ON DELETE CASCADE,\n"
    " last_external_snd_id INTEGER NOT NULL,\n"
    " received INTEGER NOT NULL,\n"
    " missed INTEGER NOT NULL,\n"
    " missed_told INTEGER NOT NULL,\n"
    " behind_told INTEGER NOT NULL,\n"
    " first_ts INTEGER NOT NULL,\n"
    " last_ts INTEGER NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE snd_queues (\n"
    " snd_queue_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " server BLOB NOT NULL,\n"
    " snd_id BLOB,\n"
    " snd_auth_key BLOB,\n"
    " e2e_pub_key BLOB,\n"
    " e2e_dh_secret BLOB NOT NULL,\n"
    " queue_mode INTEGER NOT NULL,\n"
    " smp_client_version INTEGER NOT NULL,\n"
    " status TEXT NOT NULL,\n"
    " snd_primary INTEGER NOT NULL,\n"
    " switch_status TEXT NOT NULL,\n"
    " replace_snd_queue_id INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE INDEX snd_queues_conn ON snd_queues (conn_id, snd_primary DESC, snd_queue_id);\n"

    "CREATE TABLE skipped_message_keys (\n"
    " skipped_id INTEGER PRIMARY KEY,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " header_key BLOB NOT NULL,\n"
    " msg_n INTEGER NOT NULL,\n"
    " msg_key BLOB NOT NULL,\n"
    " msg_iv BLOB NOT NULL\n"
    ") STRICT;\n"
    "CREATE INDEX skipped_message_keys_key ON skipped_message_keys (conn_id, header_key, msg_n);\n"

    "CREATE TABLE x3dh_keys (\n"
    " conn_id INTEGER PRIMARY KEY REFERENCES connections ON DELETE CASCADE,\n"
    " keys BLOB NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE processed_ratchet_key_hashes (\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " hash BLOB NOT NULL,\n"
    " created_at INTEGER NOT NULL,\n"
    " PRIMARY KEY (conn_id, hash)\n"
    ") STRICT;\n";

static const char initial_messages[] =
    "CREATE TABLE snd_messages (\n"
    " msg_row INTEGER PRIMARY KEY,\n"
    " conn_id INTEGER NOT NULL,\n"
    " internal_id INTEGER NOT NULL,\n"
    " external_snd_id INTEGER NOT NULL,\n"
    " msg_type INTEGER NOT NULL,\n"
    " notify INTEGER NOT NULL,\n"
    " padded_len INTEGER NOT NULL,\n"
    " created_at INTEGER NOT NULL,\n"
    " sent INTEGER NOT NULL,\n" /* to one of several queues */
    " body_id INTEGER NOT NULL,\n" /* of snd_bodies; 0: none */
    " e2e_params BLOB,\n"
    " msg_key BLOB NOT NULL,\n"
    " msg_body BLOB NOT NULL\n" /* last: what stands before it is read without its pages */
    ") STRICT;\n"

    "CREATE TABLE snd_bodies (\n" /* the end of messages that went to many at once */
    " body_id INTEGER PRIMARY KEY,\n"
    " body BLOB NOT NULL\n"
    ") STRICT;\n"
    "CREATE INDEX snd_messages_body ON snd_messages (body_id) WHERE body_id <> 0;\n"
    "CREATE TRIGGER snd_bodies_unused AFTER DELETE ON snd_messages WHEN old.body_id <> 0 BEGIN\n"
    " DELETE FROM snd_bodies WHERE body_id = old.body_id AND NOT EXISTS\n"
    "  (SELECT 1 FROM snd_messages m WHERE m.body_id = old.body_id AND m.body_id <> 0);\n"
    "END;\n"

    "CREATE TABLE snd_message_deliveries (\n"
    " snd_queue_id INTEGER NOT NULL REFERENCES snd_queues ON DELETE CASCADE,\n"
    " internal_id INTEGER NOT NULL,\n"
    " msg_row INTEGER NOT NULL,\n"
    " retry_delay INTEGER NOT NULL,\n"
    " quota_seen INTEGER NOT NULL,\n"
    " PRIMARY KEY (snd_queue_id, internal_id)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE sent_messages (\n" /* what the peer may still send a receipt for */
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " external_snd_id INTEGER NOT NULL,\n"
    " internal_id INTEGER NOT NULL,\n"
    " rcpt_status INTEGER NOT NULL,\n"
    " created_at INTEGER NOT NULL,\n"
    " msg_hash BLOB NOT NULL,\n"
    " PRIMARY KEY (conn_id, external_snd_id)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE rcv_messages (\n"
    " seq INTEGER PRIMARY KEY,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " internal_id INTEGER NOT NULL,\n"
    " rcv_queue_id INTEGER NOT NULL,\n" /* no reference: messages outlive a replaced queue */
    " external_snd_id INTEGER NOT NULL,\n"
    " broker_id BLOB NOT NULL,\n"
    " broker_ts INTEGER NOT NULL,\n"
    " rcv_ts INTEGER NOT NULL,\n"
    " msg_type INTEGER NOT NULL,\n"
    " integrity INTEGER NOT NULL,\n"
    " gap_first INTEGER NOT NULL,\n"
    " gap_last INTEGER NOT NULL,\n"
    " notify INTEGER NOT NULL,\n"
    " pq INTEGER NOT NULL,\n"
    " attempts INTEGER NOT NULL,\n"
    " msg_hash BLOB NOT NULL,\n"
    " msg_body BLOB NOT NULL,\n"
    " UNIQUE (conn_id, internal_id)\n"
    ") STRICT;\n"

    "CREATE TABLE rcv_message_hashes (\n"
    " hash_id INTEGER PRIMARY KEY,\n"
    " conn_id INTEGER NOT NULL,\n" /* no reference: they go when they are old */
    " hash BLOB NOT NULL,\n"       /* the first 16 bytes */
    " created_at INTEGER NOT NULL,\n"
    " external_snd_id INTEGER NOT NULL DEFAULT 0\n"
    ") STRICT;\n"

    "CREATE TABLE conn_confirmations (\n"
    " confirmation_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " sender_conn_info BLOB NOT NULL,\n"
    " reply_queue BLOB,\n"
    " accepted INTEGER NOT NULL,\n"
    " own_conn_info BLOB\n"
    ") STRICT;\n"
    "CREATE INDEX conn_confirmations_conn ON conn_confirmations (conn_id);\n"

    "CREATE TABLE conn_invitations (\n" /* requests to a contact address */
    " invitation_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " link_hash BLOB NOT NULL,\n"
    " created_at INTEGER NOT NULL,\n"
    " accepted_conn_id INTEGER NOT NULL,\n" /* no reference: only remembered */
    " cr_invitation BLOB,\n"                /* NULL once it was accepted or rejected */
    " recipient_conn_info BLOB\n"
    ") STRICT;\n"
    "CREATE UNIQUE INDEX conn_invitations_hash ON conn_invitations (conn_id, link_hash);\n"
    "CREATE INDEX conn_invitations_pending ON conn_invitations (conn_id)"
    " WHERE cr_invitation IS NOT NULL;\n"

    "CREATE TABLE commands (\n"
    " command_id INTEGER PRIMARY KEY,\n"
    " conn_id INTEGER NOT NULL REFERENCES connections ON DELETE CASCADE,\n"
    " command_tag INTEGER NOT NULL,\n"
    " queue_id INTEGER NOT NULL,\n"
    " created_at INTEGER NOT NULL,\n"
    " command BLOB\n"
    ") STRICT;\n"
    "CREATE INDEX commands_conn ON commands (conn_id, command_id);\n"

    "CREATE TABLE events (\n"
    " event_id INTEGER PRIMARY KEY,\n"
    " conn_id INTEGER NOT NULL,\n" /* no reference: the last event tells of the deletion */
    " of_peer INTEGER NOT NULL,\n" /* such events are counted (lib/agent/unread.c) */
    " event BLOB NOT NULL\n"
    ") STRICT;\n"
    "CREATE INDEX events_of_peer ON events (conn_id) WHERE of_peer = 1;\n";

static const char initial_links[] =
    "CREATE TABLE link_data (\n" /* behind short links of our own */
    " rcv_queue_id INTEGER PRIMARY KEY REFERENCES rcv_queues ON DELETE CASCADE,\n"
    " link_type INTEGER NOT NULL,\n"
    " link_state INTEGER NOT NULL,\n"
    " kem_in_full INTEGER NOT NULL,\n"
    " corr_id BLOB NOT NULL,\n"
    " link_id BLOB,\n"
    " link_key BLOB NOT NULL,\n"
    " root_key BLOB NOT NULL,\n"
    " fixed_data BLOB NOT NULL,\n" /* both as the server keeps them */
    " user_data BLOB NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE looked_links (\n" /* short links of others */
    " conn_id INTEGER PRIMARY KEY REFERENCES connections ON DELETE CASCADE,\n"
    " link_hash BLOB NOT NULL,\n"
    " link BLOB NOT NULL,\n"
    " snd_auth_key BLOB,\n" /* of a 1-time link */
    " request BLOB\n"       /* the full link behind it, once it was read */
    ") STRICT;\n"
    "CREATE UNIQUE INDEX looked_links_hash ON looked_links (link_hash);\n"

    "CREATE TABLE noise_queues (\n" /* that loops of noise go through */
    " noise_queue_id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    " user_id INTEGER NOT NULL,\n" /* no reference: a queue outlives its user until its DEL */
    " noise_state INTEGER NOT NULL,\n"
    " server BLOB NOT NULL,\n"
    " rcv_id BLOB,\n"
    " snd_id BLOB,\n"
    " rcv_auth_key BLOB NOT NULL,\n"
    " rcv_dh_key BLOB NOT NULL,\n"
    " snd_auth_key BLOB NOT NULL\n"
    ") STRICT;\n";

#define POLICY_COLUMNS                 \
    " every INTEGER NOT NULL,\n"       \
    " jitter INTEGER NOT NULL,\n"      \
    " messages INTEGER NOT NULL,\n"    \
    " spread INTEGER NOT NULL,\n"      \
    " server_list INTEGER NOT NULL,\n" \
    " per_day INTEGER NOT NULL,\n"

static const char initial_rotation[] =
    "CREATE TABLE user_rotations (\n" /* of all connections of a user */
    " user_id INTEGER PRIMARY KEY REFERENCES users ON DELETE CASCADE,\n" POLICY_COLUMNS
    " next_at INTEGER NOT NULL,\n"
    " checked_version INTEGER NOT NULL\n"
    ") STRICT;\n"

    "CREATE TABLE rotations (\n"
    " conn_id INTEGER PRIMARY KEY REFERENCES connections ON DELETE CASCADE,\n"
    " own INTEGER NOT NULL,\n" POLICY_COLUMNS " due_at INTEGER NOT NULL,\n"
    " planned_at INTEGER NOT NULL,\n"
    " count_at INTEGER NOT NULL,\n"
    " unlisted INTEGER NOT NULL,\n"
    " running INTEGER NOT NULL,\n"
    " attempts INTEGER NOT NULL,\n"
    " started INTEGER NOT NULL,\n"
    " completed INTEGER NOT NULL,\n"
    " failed INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE INDEX rotations_due ON rotations (due_at);\n"
    "CREATE INDEX rotations_planned ON rotations (planned_at);\n";

static const char initial_notifiers[] =
    "CREATE TABLE notifiers (\n"
    " rcv_queue_id INTEGER PRIMARY KEY REFERENCES rcv_queues ON DELETE CASCADE,\n"
    " state INTEGER NOT NULL,\n"
    " ntf_auth_key BLOB NOT NULL,\n"
    " ntf_dh_key BLOB,\n" /* until there is the secret */
    " ntf_id BLOB,\n"
    " ntf_dh_secret BLOB,\n"
    " last_broker_id BLOB,\n" /* of the message received last */
    " last_broker_ts INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE INDEX notifiers_id ON notifiers (ntf_id);\n"

    "CREATE TABLE client_services (\n" /* who we are to servers */
    " user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,\n"
    " server BLOB NOT NULL,\n" /* in its binary form */
    " cert BLOB NOT NULL,\n"   /* PEM, and its key */
    " private_key BLOB NOT NULL,\n"
    " service_id BLOB,\n"
    " PRIMARY KEY (user_id, server)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE service_users (\n" /* that are services, when not all are */
    " user_id INTEGER PRIMARY KEY REFERENCES users ON DELETE CASCADE\n"
    ") STRICT;\n"

    "CREATE TABLE client_notices (\n" /* of queues that were blocked, also of some that are gone */
    " server BLOB NOT NULL,\n"        /* host:port */
    " rcv_id BLOB NOT NULL,\n"
    " has_ttl INTEGER NOT NULL,\n"
    " ttl INTEGER NOT NULL,\n"
    " created_at INTEGER NOT NULL,\n"
    " PRIMARY KEY (server, rcv_id)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE service_queues (\n" /* that their servers know to be the service's */
    " rcv_queue_id INTEGER PRIMARY KEY REFERENCES rcv_queues ON DELETE CASCADE\n"
    ") STRICT;\n";

const struct sx_migration sx_migrations[] = {
    { { initial_queues, initial_messages, initial_links, initial_rotation, initial_notifiers } },
};
const size_t sx_migrations_count = SX_COUNT(sx_migrations);
