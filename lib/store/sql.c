/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "store/sql.h"

#define CONN                                                                                      \
    "user_id, role, state, agent_version, pq_support, deleted, subscribe, last_internal_msg_id, " \
    "last_internal_snd_msg_id, last_external_snd_msg_id, rcv_msg_count, last_snd_msg_hash, "      \
    "last_rcv_msg_hash, ratchet_sync_state, created_at, rcv_queue_count, peer_several, "          \
    "rcv_others, gap_first, gap_last, old_copy, crossed, suspended"
#define USER                                                                               \
    "active, deleted, own_servers, servers_hash, servers_version, servers_changed_at, " \
    "created_at"
#define RCVQ                                                                                    \
    "conn_id, server, rcv_id, snd_id, rcv_auth_key, rcv_dh_key, rcv_dh_secret, e2e_key, "       \
    "e2e_dh_secret, sender_key, queue_mode, smp_client_version, status, rcv_primary, deleted, " \
    "delete_errors, switch_status, replace_rcv_queue_id, suspended"
#define SNDQ                                                                          \
    "conn_id, server, snd_id, snd_auth_key, e2e_pub_key, e2e_dh_secret, queue_mode, " \
    "smp_client_version, status, snd_primary, switch_status, replace_snd_queue_id"
#define SND_MSG                                                                         \
    "conn_id, internal_id, external_snd_id, msg_type, notify, padded_len, created_at, " \
    "sent, body_id, e2e_params, msg_key, msg_body"
#define RCV_MSG                                                                           \
    "conn_id, internal_id, rcv_queue_id, external_snd_id, broker_id, broker_ts, rcv_ts, " \
    "msg_type, integrity, gap_first, gap_last, notify, pq, attempts, msg_hash, msg_body"
#define LINK                                                                             \
    "link_type, link_state, kem_in_full, corr_id, link_id, link_key, root_key, fixed_data, " \
    "user_data"
#define POLICY "every, jitter, messages, spread, server_list, per_day"
#define ROTATION                                                                     \
    "own, " POLICY ", due_at, planned_at, count_at, unlisted, running, attempts, " \
    "started, completed, failed"
#define NOTIFIER \
    "rcv_queue_id, state, ntf_auth_key, ntf_dh_key, ntf_id, ntf_dh_secret, last_broker_id, " \
    "last_broker_ts"
/* Rows that a repeat is looked for in; older ones are removed. */
#define HASH_WINDOW "200000"
/* The other deliveries of message ?2 of connection ?1 than that to queue ?3. */
#define OTHER_DELIVERIES                                         \
    "SELECT 1 FROM snd_queues q JOIN snd_message_deliveries o"   \
    " ON o.snd_queue_id = q.snd_queue_id AND o.internal_id = ?2" \
    " WHERE q.conn_id = ?1 AND q.snd_queue_id <> ?3"
/* Delivery d, of queue ?1, is the only one of its message. */
#define NO_OTHER                                                                            \
    "NOT EXISTS (SELECT 1 FROM snd_queues a JOIN snd_queues b ON b.conn_id = a.conn_id"     \
    " JOIN snd_message_deliveries o ON o.snd_queue_id = b.snd_queue_id"                     \
    " AND o.internal_id = d.internal_id WHERE a.snd_queue_id = ?1 AND b.snd_queue_id <> ?1)"
#define DELIVERY "snd_queue_id, internal_id, msg_row, retry_delay, quota_seen"
#define COUNTS                                                                             \
    "last_external_snd_id, received, missed, missed_told, behind_told, first_ts, last_ts"

const char *const sx_sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN",
    [SQL_COMMIT] = "COMMIT",
    [SQL_SAVEPOINT] = "SAVEPOINT sx",
    [SQL_RELEASE] = "RELEASE sx",
    [SQL_UNDO] = "ROLLBACK TO sx",
    [SQL_PART] = "SAVEPOINT part",
    [SQL_PART_END] = "RELEASE part",
    [SQL_PART_UNDO] = "ROLLBACK TO part",
    [SQL_ANOTHER_PAGE] = "SELECT 1 FROM users WHERE user_id = 1",

    [SQL_CONN_ADD] = "INSERT INTO connections (" CONN ")"
                     " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_CONN_GET] = "SELECT " CONN " FROM connections WHERE conn_id = ?",
    [SQL_CONN_UPDATE] = "UPDATE connections SET (" CONN ") ="
                        " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) WHERE conn_id = ?",
    [SQL_CONN_DELETE] = "DELETE FROM connections WHERE conn_id = ?",
    [SQL_CONN_LIST] = "SELECT conn_id FROM connections WHERE conn_id > ? ORDER BY conn_id LIMIT ?",

    [SQL_FAREWELL_ADD] = "INSERT OR REPLACE INTO farewells (conn_id, end_by) VALUES (?,?)",
    [SQL_FAREWELL_HAS] = "SELECT 1 FROM farewells WHERE conn_id = ?",
    [SQL_FAREWELL_DELETE] = "DELETE FROM farewells WHERE conn_id = ?",
    [SQL_FAREWELL_FIRST] = "SELECT conn_id, end_by FROM farewells ORDER BY end_by LIMIT 1",

    [SQL_CONN_USER] = "SELECT user_id FROM connections WHERE conn_id = ?",
    [SQL_CONN_LIST_USER] = "SELECT conn_id FROM connections WHERE user_id = ? AND conn_id > ?"
                           " ORDER BY conn_id LIMIT ?",

    [SQL_USER_ADD] = "INSERT INTO users (" USER ") VALUES (?,?,?,?,?,?,?)",
    [SQL_USER_NEXT] =
        "SELECT user_id, " USER " FROM users WHERE user_id > ? ORDER BY user_id LIMIT 1",
    [SQL_USER_UPDATE] = "UPDATE users SET (" USER ") = (?,?,?,?,?,?,?) WHERE user_id = ?",
    [SQL_USER_DELETE] = "DELETE FROM users WHERE user_id = ?",
    [SQL_USER_SERVER_ADD] = "INSERT INTO user_servers (user_id, position, server, operator_id,"
                            " flags) VALUES (?,?,?,?,?)",
    [SQL_USER_SERVER_NEXT] = "SELECT position, server, operator_id, flags FROM user_servers"
                             " WHERE user_id = ? AND position > ? ORDER BY position LIMIT 1",
    [SQL_USER_SERVERS_DELETE] = "DELETE FROM user_servers WHERE user_id = ?",

    [SQL_RCVQ_ADD] = "INSERT INTO rcv_queues (" RCVQ ", host, port)"
                     " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_RCVQ_GET] = "SELECT rcv_queue_id, " RCVQ " FROM rcv_queues WHERE rcv_queue_id = ?",
    [SQL_RCVQ_FIND] = "SELECT rcv_queue_id, " RCVQ " FROM rcv_queues"
                      " WHERE rcv_id = ? AND port = ? AND host = ?",
    [SQL_RCVQ_OF] = "SELECT rcv_queue_id, " RCVQ " FROM rcv_queues WHERE conn_id = ?"
                    " ORDER BY rcv_primary DESC, rcv_queue_id LIMIT 1 OFFSET ?",
    [SQL_RCVQ_UPDATE] = "UPDATE rcv_queues SET (" RCVQ ", host, port) ="
                        " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) WHERE rcv_queue_id = ?",
    [SQL_RCVQ_DELETE] = "DELETE FROM rcv_queues WHERE rcv_queue_id = ?",
    [SQL_RCVQ_NEXT] = "SELECT rcv_queue_id, " RCVQ " FROM rcv_queues WHERE rcv_queue_id > ?"
                      " ORDER BY rcv_queue_id LIMIT 1",

    [SQL_COUNTS_PUT] = "INSERT OR REPLACE INTO rcv_queue_counts (rcv_queue_id, " COUNTS ")"
                       " VALUES (?,?,?,?,?,?,?,?)",
    [SQL_COUNTS_GET] = "SELECT " COUNTS " FROM rcv_queue_counts WHERE rcv_queue_id = ?",

    [SQL_SNDQ_ADD] = "INSERT INTO snd_queues (" SNDQ ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_SNDQ_GET] = "SELECT snd_queue_id, " SNDQ " FROM snd_queues WHERE snd_queue_id = ?",
    [SQL_SNDQ_OF] = "SELECT snd_queue_id, " SNDQ " FROM snd_queues WHERE conn_id = ?"
                    " ORDER BY snd_primary DESC, snd_queue_id LIMIT 1 OFFSET ?",
    [SQL_SNDQ_UPDATE] =
        "UPDATE snd_queues SET (" SNDQ ") = (?,?,?,?,?,?,?,?,?,?,?,?) WHERE snd_queue_id = ?",
    [SQL_SNDQ_DELETE] = "DELETE FROM snd_queues WHERE snd_queue_id = ?",
    [SQL_SNDQ_DELETE_MSGS] =
        "DELETE FROM snd_messages WHERE msg_row IN"
        " (SELECT msg_row FROM snd_message_deliveries d WHERE d.snd_queue_id = ?1"
        "  AND " NO_OTHER ")",
    [SQL_SNDQ_NEXT] = "SELECT snd_queue_id, " SNDQ " FROM snd_queues WHERE snd_queue_id > ?"
                      " ORDER BY snd_queue_id LIMIT 1",

    [SQL_RATCHET_GET] = "SELECT ratchet_state FROM connections"
                        " WHERE conn_id = ? AND ratchet_state IS NOT NULL",
    [SQL_RATCHET_PUT] = "UPDATE connections SET ratchet_state = ? WHERE conn_id = ?",
    [SQL_SKIPPED_LIST] = "SELECT header_key, msg_n, msg_key, msg_iv FROM skipped_message_keys"
                         " WHERE conn_id = ? ORDER BY skipped_id",
    [SQL_SKIPPED_ADD] = "INSERT INTO skipped_message_keys"
                        " (conn_id, header_key, msg_n, msg_key, msg_iv) VALUES (?,?,?,?,?)",
    [SQL_SKIPPED_DELETE] =
        "DELETE FROM skipped_message_keys WHERE conn_id = ? AND header_key = ? AND msg_n = ?",
    [SQL_SKIPPED_DELETE_ALL] = "DELETE FROM skipped_message_keys WHERE conn_id = ?",
    [SQL_SKIPPED_TRIM] = "DELETE FROM skipped_message_keys WHERE skipped_id IN"
                         " (SELECT skipped_id FROM skipped_message_keys WHERE conn_id = ?"
                         " ORDER BY skipped_id LIMIT ?)",
    [SQL_X3DH_PUT] = "INSERT INTO x3dh_keys (conn_id, keys) VALUES (?,?)"
                     " ON CONFLICT (conn_id) DO UPDATE SET keys = excluded.keys",
    [SQL_X3DH_GET] = "SELECT keys FROM x3dh_keys WHERE conn_id = ?",
    [SQL_X3DH_DELETE] = "DELETE FROM x3dh_keys WHERE conn_id = ?",
    [SQL_RATCHET_DELETE] = "UPDATE connections SET ratchet_state = NULL"
                           " WHERE conn_id = ? AND ratchet_state IS NOT NULL",
    [SQL_KEY_HASH_ADD] =
        "INSERT INTO processed_ratchet_key_hashes (conn_id, hash, created_at) VALUES (?,?,?)",
    [SQL_KEY_HASH_KNOWN] =
        "SELECT 1 FROM processed_ratchet_key_hashes WHERE conn_id = ? AND hash = ?",
    [SQL_KEY_HASH_COUNT] = "SELECT count(*) FROM processed_ratchet_key_hashes WHERE conn_id = ?"
                           " AND created_at BETWEEN ? AND ?",
    [SQL_KEY_HASH_FORGET] =
        "DELETE FROM processed_ratchet_key_hashes WHERE conn_id = ? AND created_at < ?",

    [SQL_AGE_GET] = "SELECT database_id, age FROM database_age",
    [SQL_AGE_PUT] = "INSERT OR REPLACE INTO database_age (one, database_id, age) VALUES (1,?,?)",

    [SQL_SND_MSG_ADD] = "INSERT INTO snd_messages (" SND_MSG ") SELECT"
                        " ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12 FROM connections"
                        " WHERE conn_id = ?1",
    [SQL_SND_MSG_DELETE_SENT] =
        "DELETE FROM snd_messages WHERE msg_row = (SELECT msg_row FROM snd_message_deliveries"
        "  WHERE snd_queue_id = ?3 AND internal_id = ?2) AND conn_id = ?1"
        " AND NOT EXISTS (" OTHER_DELIVERIES ")",
    [SQL_SND_MSG_DELETE_CONN] =
        "DELETE FROM snd_messages WHERE msg_row IN (SELECT d.msg_row FROM snd_queues q"
        " JOIN snd_message_deliveries d ON d.snd_queue_id = q.snd_queue_id WHERE q.conn_id = ?)",
    /* from the newest: it was added just now */
    [SQL_DELIVERY_ADD] = "INSERT INTO snd_message_deliveries (" DELIVERY ")"
                         " SELECT ?1, ?3, msg_row, 0, 0 FROM snd_messages WHERE conn_id = ?2"
                         " AND internal_id = ?3 ORDER BY msg_row DESC LIMIT 1",
    [SQL_SND_BODY_ADD] = "INSERT INTO snd_bodies (body) VALUES (?)",
    [SQL_SND_BODY_TRIM] = "DELETE FROM snd_bodies WHERE body_id = ?1 AND NOT EXISTS"
                          " (SELECT 1 FROM snd_messages WHERE body_id = ?1 AND body_id <> 0)",
    [SQL_DELIVERY_NEXT] =
        "SELECT m.conn_id, m.internal_id, external_snd_id, msg_type, notify, padded_len,"
        " created_at, sent, body_id, e2e_params, msg_key, msg_body,"
        " (SELECT body FROM snd_bodies b WHERE b.body_id = m.body_id), retry_delay, quota_seen"
        " FROM snd_message_deliveries d JOIN snd_messages m ON m.msg_row = d.msg_row"
        " WHERE d.snd_queue_id = ? AND d.internal_id > ? ORDER BY d.internal_id LIMIT 1",
    [SQL_DELIVERY_RETRY] = "UPDATE snd_message_deliveries SET retry_delay = ?, quota_seen = ?"
                           " WHERE snd_queue_id = ? AND internal_id = ?",
    [SQL_DELIVERY_COUNT_OF] = "SELECT count(*) FROM snd_message_deliveries WHERE snd_queue_id = ?",
    [SQL_DELIVERY_DELETE] =
        "DELETE FROM snd_message_deliveries WHERE snd_queue_id = ? AND internal_id = ?",
    [SQL_SND_MSG_SENT] = "UPDATE snd_messages SET sent = 1 WHERE msg_row ="
                         " (SELECT d.msg_row FROM snd_queues q JOIN snd_message_deliveries d"
                         "  ON d.snd_queue_id = q.snd_queue_id AND d.internal_id = ?2"
                         "  WHERE q.conn_id = ?1 LIMIT 1)",
    [SQL_DELIVERY_MOVE] = "UPDATE OR REPLACE snd_message_deliveries SET snd_queue_id = ?2,"
                          " retry_delay = 0, quota_seen = 0"
                          " WHERE snd_queue_id = ?1 AND internal_id = ?3",
    [SQL_DELIVERY_COPY] = "INSERT OR IGNORE INTO snd_message_deliveries (" DELIVERY ")"
                          " SELECT ?2, internal_id, msg_row, 0, 0 FROM snd_message_deliveries "
                          "WHERE snd_queue_id = ?1",
    [SQL_DELIVERY_TRIM_MSGS] = "DELETE FROM snd_messages WHERE msg_row IN"
                               " (SELECT msg_row FROM (SELECT msg_row, internal_id"
                               "   FROM snd_message_deliveries WHERE snd_queue_id = ?1"
                               "   ORDER BY internal_id DESC LIMIT -1 OFFSET ?2) d"
                               "  WHERE " NO_OTHER ")",
    [SQL_DELIVERY_TRIM] = "DELETE FROM snd_message_deliveries WHERE snd_queue_id = ?1"
                          " AND internal_id IN (SELECT internal_id FROM snd_message_deliveries"
                          "  WHERE snd_queue_id = ?1 ORDER BY internal_id DESC"
                          "  LIMIT -1 OFFSET ?2)",
    [SQL_DELIVERY_COUNT] = "SELECT count(DISTINCT d.msg_row) FROM snd_queues q"
                           " JOIN snd_message_deliveries d ON d.snd_queue_id = q.snd_queue_id"
                           " JOIN snd_messages m ON m.msg_row = d.msg_row"
                           " WHERE q.conn_id = ? AND m.sent = 0",

    [SQL_SENT_ADD] = "INSERT INTO sent_messages (conn_id, external_snd_id, internal_id,"
                     " rcpt_status, created_at, msg_hash) VALUES (?,?,?,?,?,?)",
    [SQL_SENT_GET] = "SELECT internal_id, rcpt_status, created_at, msg_hash FROM sent_messages"
                     " WHERE conn_id = ? AND external_snd_id = ?",
    [SQL_SENT_STATUS] =
        "UPDATE sent_messages SET rcpt_status = ? WHERE conn_id = ? AND external_snd_id = ?",
    [SQL_SENT_DELETE] = "DELETE FROM sent_messages WHERE conn_id = ? AND external_snd_id = ?",
    /* the last row of the piece behind ?1, ?2 */
    [SQL_SENT_NEXT] = "SELECT conn_id, external_snd_id FROM (SELECT conn_id, external_snd_id"
                      " FROM sent_messages WHERE (conn_id, external_snd_id) > (?,?)"
                      " ORDER BY conn_id, external_snd_id LIMIT ?)"
                      " ORDER BY conn_id DESC, external_snd_id DESC LIMIT 1",
    [SQL_SENT_CLEANUP] = "DELETE FROM sent_messages WHERE (conn_id, external_snd_id) > (?,?)"
                         " AND (conn_id, external_snd_id) <= (?,?) AND created_at < ?",

    [SQL_RCV_MSG_ADD] =
        "INSERT INTO rcv_messages (" RCV_MSG ", seq) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_RCV_MSG_GET] =
        "SELECT " RCV_MSG " FROM rcv_messages WHERE conn_id = ? AND internal_id = ?",
    /* a queue delivers nothing before the last message was acknowledged: there are very few rows */
    [SQL_RCV_MSG_FIND] = "SELECT " RCV_MSG " FROM rcv_messages WHERE conn_id = ?"
                         " AND rcv_queue_id = ? AND broker_id = ? LIMIT 1",
    [SQL_RCV_MSG_OTHER] =
        "SELECT 1 FROM rcv_messages WHERE conn_id = ? AND rcv_queue_id <> ? LIMIT 1",
    [SQL_RCV_MSG_NEXT] = "SELECT seq, conn_id, internal_id FROM rcv_messages WHERE seq > ?"
                         " ORDER BY seq LIMIT 1",
    [SQL_RCV_MSG_ATTEMPT] =
        "UPDATE rcv_messages SET attempts = attempts + 1 WHERE conn_id = ? AND internal_id = ?",
    [SQL_RCV_MSG_DELETE] = "DELETE FROM rcv_messages WHERE conn_id = ? AND internal_id = ?",
    [SQL_RCV_HASH_ADD] =
        "INSERT INTO rcv_message_hashes (conn_id, hash, created_at, external_snd_id)"
        " VALUES (?,?,?,?)",
    /* from the newest: what a server delivers again it has delivered last */
    [SQL_RCV_HASH_KNOWN] =
        "SELECT external_snd_id FROM rcv_message_hashes WHERE conn_id = ? AND hash = ?"
        " AND hash_id > (SELECT max(hash_id) FROM rcv_message_hashes)"
        " - " HASH_WINDOW " ORDER BY hash_id DESC LIMIT 1",
    /* rows arrive in the order of time, so the oldest have the lowest ids */
    [SQL_RCV_HASH_CLEANUP] =
        "DELETE FROM rcv_message_hashes WHERE hash_id IN"
        " (SELECT hash_id FROM rcv_message_hashes ORDER BY hash_id LIMIT ?) AND (created_at < ?"
        " OR hash_id <= (SELECT max(hash_id) FROM rcv_message_hashes) - " HASH_WINDOW ")",

    [SQL_CONF_ADD] = "INSERT INTO conn_confirmations"
                     " (conn_id, sender_conn_info, reply_queue, accepted, own_conn_info)"
                     " VALUES (?,?,?,?,?)",
    [SQL_CONF_GET] = "SELECT conn_id, sender_conn_info, reply_queue, accepted, own_conn_info"
                     " FROM conn_confirmations WHERE confirmation_id = ?",
    [SQL_CONF_ACCEPT] = "UPDATE conn_confirmations SET accepted = 1, own_conn_info = ?"
                        " WHERE confirmation_id = ?",
    [SQL_CONF_DELETE_ALL] = "DELETE FROM conn_confirmations WHERE conn_id = ?",

    [SQL_INV_ADD] =
        "INSERT INTO conn_invitations (conn_id, link_hash, created_at, accepted_conn_id,"
        " cr_invitation, recipient_conn_info) VALUES (?,?,?,0,?,?)",
    [SQL_INV_KNOWN] = "SELECT 1 FROM conn_invitations WHERE conn_id = ? AND link_hash = ?",
    [SQL_INV_GET] = "SELECT conn_id, cr_invitation IS NOT NULL, accepted_conn_id, cr_invitation,"
                    " recipient_conn_info FROM conn_invitations WHERE invitation_id = ?",
    [SQL_INV_CLOSE] = "UPDATE conn_invitations SET accepted_conn_id = ?, cr_invitation = NULL,"
                      " recipient_conn_info = NULL WHERE invitation_id = ?",
    /* of the address of request ?1: of those that are closed the newest ?2 stay */
    [SQL_INV_TRIM] =
        "DELETE FROM conn_invitations WHERE invitation_id IN"
        " (SELECT o.invitation_id FROM conn_invitations i JOIN conn_invitations o"
        "  ON o.conn_id = i.conn_id WHERE i.invitation_id = ?1"
        "  AND o.cr_invitation IS NULL ORDER BY o.invitation_id DESC LIMIT -1 OFFSET ?2)",
    [SQL_INV_COUNT] = "SELECT count(*) FROM conn_invitations WHERE conn_id = ?"
                      " AND cr_invitation IS NOT NULL",
    [SQL_INV_LIST] = "SELECT invitation_id FROM conn_invitations WHERE invitation_id > ?"
                     " AND cr_invitation IS NOT NULL ORDER BY invitation_id LIMIT ?",
    [SQL_INV_DELETE_ALL] = "DELETE FROM conn_invitations WHERE conn_id = ?",

    [SQL_LINK_PUT] = "INSERT OR REPLACE INTO link_data (rcv_queue_id, " LINK ")"
                     " VALUES (?,?,?,?,?,?,?,?,?,?)",
    [SQL_LINK_GET] = "SELECT " LINK " FROM link_data WHERE rcv_queue_id = ?",
    [SQL_LINK_DELETE] = "DELETE FROM link_data WHERE rcv_queue_id = ?",
    [SQL_LOOK_ADD] =
        "INSERT INTO looked_links (conn_id, link_hash, link, snd_auth_key) VALUES (?,?,?,?)",
    [SQL_LOOK_GET] = "SELECT link, snd_auth_key, request FROM looked_links WHERE conn_id = ?",
    [SQL_LOOK_FIND] = "SELECT conn_id FROM looked_links WHERE link_hash = ?",
    [SQL_LOOK_REQUEST] = "UPDATE looked_links SET request = ? WHERE conn_id = ?",
    [SQL_LOOK_DELETE] = "DELETE FROM looked_links WHERE conn_id = ?",

    [SQL_NOISE_ADD] = "INSERT INTO noise_queues (user_id, noise_state, server, rcv_auth_key,"
                      " rcv_dh_key, snd_auth_key) VALUES (?,?,?,?,?,?)",
    [SQL_NOISE_UPDATE] = "UPDATE noise_queues SET noise_state = ?, rcv_id = ?, snd_id = ?"
                         " WHERE noise_queue_id = ?",
    [SQL_NOISE_DELETE] = "DELETE FROM noise_queues WHERE noise_queue_id = ?",
    [SQL_NOISE_NEXT] =
        "SELECT noise_queue_id, user_id, noise_state, server, rcv_id, snd_id,"
        " rcv_auth_key, rcv_dh_key, snd_auth_key FROM noise_queues WHERE noise_queue_id > ?"
        " ORDER BY noise_queue_id LIMIT 1",
    [SQL_NOTICE_PUT] = "INSERT INTO client_notices (server, rcv_id, has_ttl, ttl, created_at)"
                       " VALUES (?,?,?,?,?) ON CONFLICT (server, rcv_id)"
                       " DO UPDATE SET has_ttl = excluded.has_ttl, ttl = excluded.ttl",
    [SQL_NOTICE_DELETE] = "DELETE FROM client_notices WHERE server = ? AND rcv_id = ?",
    [SQL_NOTICES_NEXT] =
        "SELECT server, max(created_at), sum(ttl), min(has_ttl) FROM client_notices"
        " WHERE server > ? GROUP BY server ORDER BY server LIMIT 1",
    [SQL_SERVICE_PUT] = "INSERT OR REPLACE INTO client_services"
                        " (user_id, server, cert, private_key, service_id) VALUES (?,?,?,?,?)",
    [SQL_SERVICE_GET] = "SELECT cert, private_key, service_id FROM client_services"
                        " WHERE user_id = ? AND server = ?",
    [SQL_SERVICE_ID] = "UPDATE client_services SET service_id = ? WHERE user_id = ? AND server = ?",
    [SQL_SERVICE_DELETE] = "DELETE FROM client_services WHERE user_id = ? AND server = ?",
    [SQL_SERVICE_USER_ADD] = "INSERT OR IGNORE INTO service_users (user_id) VALUES (?)",
    [SQL_SERVICE_USER_DELETE] = "DELETE FROM service_users WHERE user_id = ?",
    [SQL_SERVICE_USER_HAS] = "SELECT 1 FROM service_users WHERE user_id = ?",
    [SQL_ASSOC_ADD] = "INSERT OR IGNORE INTO service_queues (rcv_queue_id) VALUES (?)",
    [SQL_ASSOC_DELETE] = "DELETE FROM service_queues WHERE rcv_queue_id = ?",
    [SQL_ASSOC_LIST] = "SELECT rcv_queue_id FROM service_queues WHERE rcv_queue_id > ?"
                       " ORDER BY rcv_queue_id LIMIT ?",

    [SQL_NOTIFIER_PUT] = "INSERT OR REPLACE INTO notifiers (" NOTIFIER ") VALUES (?,?,?,?,?,?,?,?)",
    [SQL_NOTIFIER_GET] = "SELECT " NOTIFIER " FROM notifiers WHERE rcv_queue_id = ?",
    [SQL_NOTIFIER_FIND] = "SELECT " NOTIFIER " FROM notifiers WHERE ntf_id = ?"
                          " AND rcv_queue_id > ? ORDER BY rcv_queue_id LIMIT 1",
    [SQL_NOTIFIER_QUEUES] = "SELECT rcv_queue_id FROM notifiers WHERE rcv_queue_id > ?"
                            " ORDER BY rcv_queue_id LIMIT ?",
    [SQL_NOTIFIER_SEEN] = "UPDATE notifiers SET last_broker_id = ?, last_broker_ts = ?"
                          " WHERE rcv_queue_id = ?",
    [SQL_NOTIFIER_DELETE] = "DELETE FROM notifiers WHERE rcv_queue_id = ?",

    [SQL_COMMAND_ADD] = "INSERT INTO commands"
                        " (command_id, conn_id, command_tag, queue_id, command, created_at)"
                        " VALUES (?,?,?,?,?,?)",
    [SQL_COMMAND_LAST] = "SELECT coalesce(max(command_id), 0) FROM commands",
    [SQL_COMMAND_NEXT] = "SELECT command_id, conn_id, command_tag, queue_id, created_at, command"
                         " FROM commands WHERE conn_id = ? AND command_id > ?"
                         " ORDER BY command_id LIMIT 1",
    [SQL_COMMAND_DELETE] = "DELETE FROM commands WHERE command_id = ?",
    [SQL_COMMAND_CONNS] =
        "SELECT DISTINCT conn_id FROM commands WHERE conn_id > ? ORDER BY conn_id LIMIT ?",

    [SQL_EVENT_ADD] = "INSERT INTO events (event_id, conn_id, of_peer, event) VALUES (?,?,?,?)",
    [SQL_EVENT_LAST] = "SELECT max(coalesce((SELECT max(event_id) FROM events), 0),"
                       " coalesce((SELECT max(seq) FROM rcv_messages), 0))",
    [SQL_EVENT_NEXT] = "SELECT event_id, conn_id, event FROM events"
                       " WHERE event_id > ? ORDER BY event_id LIMIT 1",
    [SQL_EVENT_DELETE] = "DELETE FROM events WHERE event_id = ?",
    [SQL_EVENT_COUNT] = "SELECT"
                        " (SELECT count(*) FROM (SELECT 1 FROM events"
                        "  WHERE conn_id = ?1 AND of_peer = 1 LIMIT ?2)) +"
                        " (SELECT count(*) FROM (SELECT 1 FROM rcv_messages"
                        "  WHERE conn_id = ?1 LIMIT ?2))",
    [SQL_EVENT_DELETE_CONN] = "DELETE FROM events WHERE conn_id = ?",

    [SQL_USER_ROTATION_PUT] = "INSERT OR REPLACE INTO user_rotations (user_id, " POLICY
                              ", next_at, checked_version) VALUES (?,?,?,?,?,?,?,?,?)",
    [SQL_USER_ROTATION_GET] =
        "SELECT " POLICY ", next_at, checked_version FROM user_rotations WHERE user_id = ?",
    [SQL_ROTATION_PUT] = "INSERT OR REPLACE INTO rotations (conn_id, " ROTATION ")"
                         " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_ROTATION_GET] = "SELECT " ROTATION " FROM rotations WHERE conn_id = ?",
    [SQL_ROTATION_FIRST] = "SELECT conn_id, due_at FROM rotations"
                           " WHERE due_at < 9223372036854775807 ORDER BY due_at LIMIT 1",
    [SQL_ROTATION_AHEAD] = "SELECT conn_id FROM rotations WHERE planned_at > ? LIMIT 1",
    [SQL_ROTATION_OVERDUE] = "SELECT count(*) FROM rotations r JOIN connections c"
                             " ON c.conn_id = r.conn_id WHERE r.due_at <= ? AND c.user_id = ?",
    [SQL_ROTATION_BY_COUNT] = "SELECT 1 FROM rotations WHERE count_at > 0 LIMIT 1",
    [SQL_ROTATION_SUMS] =
        "SELECT ifnull(sum(started), 0), ifnull(sum(completed), 0), ifnull(sum(failed), 0),"
        " ifnull(min(due_at), 9223372036854775807) FROM rotations r JOIN connections c"
        " ON c.conn_id = r.conn_id WHERE c.user_id = ?",
};
