/* SPDX-License-Identifier: Apache-2.0 */
/* Making, changing and deleting users. Rows first; what is in memory follows as the last step. */
#include "agent/delete.h"
#include "agent/event.h"
#include "agent/rotation.h"
#include "agent/subscribe.h"
#include "agent/users.h"
#include "store/service.h"

struct args {
    int64_t user, conn;
    const simplex_user_server *servers;
    size_t n;
    bool queues;
    void *out;
    size_t *len;
    char *text;
};

static simplex_rc find(struct simplex_agent *a, int64_t user, struct sx_user **out)
{
    simplex_rc rc = sx_user_check(a, user);

    *out = rc == SIMPLEX_OK ? sx_user_find(a, user) : NULL;
    return rc;
}

/* ---- lists ---- */

/* Hosts that were built against a smaller structure: what they do not know is 0. */
static const simplex_user_server *server_at(const simplex_user_server *list, size_t i)
{
    return (const simplex_user_server *)(const void *)((const char *)list + i * list->size);
}

static bool valid_list(const simplex_user_server *list, size_t n)
{
    if (n > SX_USER_SERVERS_MAX || (list == NULL && n > 0))
        return false;
    if (n > 0 && (list->size < sizeof *list || list->size % sizeof(void *) != 0))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (server_at(list, i)->address == NULL || server_at(list, i)->size != list->size)
            return false;
    }
    return true;
}

static uint8_t flags_of(const simplex_user_server *s)
{
    return (uint8_t)((s->enabled ? SX_SRV_ENABLED : 0) | (s->storage ? SX_SRV_STORAGE : 0) |
                     (s->proxy ? SX_SRV_PROXY : 0) | (s->preset ? SX_SRV_PRESET : 0));
}

static simplex_rc parse_server(const simplex_user_server *in, struct sx_user_server *s)
{
    simplex_bytes password;
    simplex_rc rc = sx_server_parse(sx_str(in->address), &s->server, &password);

    if (rc != SIMPLEX_OK)
        return rc;
    s->operator_id = in->operator_id;
    s->flags = flags_of(in);
    if (password.len > 0 && (s->password = (char *)sx_memdup(password)) == NULL)
        return SIMPLEX_E_NOMEM;
    return SIMPLEX_OK;
}

static simplex_rc parse_list(const simplex_user_server *list, size_t n, struct sx_server_list *l)
{
    simplex_rc rc = SIMPLEX_OK;

    *l = (struct sx_server_list){ 0 };
    if (n == 0)
        return rc;
    l->v = sx_calloc(n, sizeof *l->v);
    if (l->v == NULL)
        return SIMPLEX_E_NOMEM;
    while (rc == SIMPLEX_OK && l->n < n) {
        rc = parse_server(server_at(list, l->n), &l->v[l->n]);
        l->n++;
    }
    return rc;
}

static simplex_rc store_list(struct simplex_agent *a, int64_t user, const simplex_user_server *list,
                             size_t n)
{
    simplex_rc rc = sx_store_user_servers_delete(a->store, user);

    for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
        const simplex_user_server *s = server_at(list, i);
        struct sx_server_row row = { .user_id = user,
                                     .position = (int64_t)i + 1,
                                     .server = sx_str(s->address),
                                     .operator_id = s->operator_id,
                                     .flags = flags_of(s) };
        rc = sx_store_user_server_add(a->store, &row);
    }
    return rc;
}

static simplex_rc do_set_servers(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_server_list l;
    struct sx_user_row row;
    struct sx_user *u;
    simplex_rc rc = find(a, x->user, &u);

    if (rc != SIMPLEX_OK)
        return rc;
    row = u->row;
    row.own_servers = x->servers != NULL;
    rc = parse_list(x->servers, x->n, &l);
    if (rc == SIMPLEX_OK)
        rc = sx_user_note_list(&row, row.own_servers ? &l : &a->servers);
    if (rc == SIMPLEX_OK)
        rc = store_list(a, row.id, x->servers, x->n);
    if (rc == SIMPLEX_OK)
        rc = sx_store_user_update(a->store, &row);
    if (rc == SIMPLEX_OK) {
        struct sx_server_list old = u->own;
        u->own = l;
        u->row = row;
        l = old;
        sx_rotation_servers_changed(a);
    }
    sx_server_list_free(&l);
    return rc;
}

simplex_rc simplex_agent_set_servers(simplex_agent *a, int64_t user,
                                     const simplex_user_server *servers, size_t n)
{
    struct args x = { .user = user, .servers = servers, .n = n };

    if (a == NULL || !valid_list(servers, n))
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, do_set_servers, &x, true);
}

static simplex_rc print_server(const struct sx_user_server *s, char *to, size_t *len)
{
    struct sx_wr w;
    simplex_rc rc = SIMPLEX_OK;

    sx_wr_init(&w, 8192);
    sx_server_print(&w, &s->server, s->password != NULL ? sx_str(s->password) : sx_bytes(NULL, 0));
    sx_wr_u8(&w, 0);
    if (w.bad)
        rc = SIMPLEX_E_NOMEM;
    else if (w.len > *len)
        rc = SIMPLEX_E_BUFFER;
    else
        memcpy(to, w.p, w.len);
    if (rc != SIMPLEX_E_NOMEM)
        *len = w.len;
    sx_wr_free(&w);
    return rc;
}

static simplex_rc do_user_server(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    const struct sx_server_list *l = sx_user_servers(a, x->user);
    simplex_user_server *out = x->out;
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc == SIMPLEX_OK && x->n >= l->n)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK)
        rc = print_server(&l->v[x->n], x->text, x->len);
    if (rc != SIMPLEX_OK)
        return rc;
    const struct sx_user_server *s = &l->v[x->n];
    *out = (simplex_user_server){ .size = out->size,
                                  .address = x->text,
                                  .operator_id = s->operator_id,
                                  .enabled = (s->flags & SX_SRV_ENABLED) != 0,
                                  .storage = (s->flags & SX_SRV_STORAGE) != 0,
                                  .proxy = (s->flags & SX_SRV_PROXY) != 0,
                                  .preset = (s->flags & SX_SRV_PRESET) != 0 };
    return rc;
}

simplex_rc simplex_agent_user_server(simplex_agent *a, int64_t user, size_t index, char *address,
                                     size_t *len, simplex_user_server *out)
{
    struct args x = { .user = user, .n = index, .text = address, .len = len, .out = out };

    if (a == NULL || len == NULL || (address == NULL && *len > 0) || out == NULL ||
        out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, do_user_server, &x, false);
}

/* ---- users ---- */

static void append(struct simplex_agent *a, struct sx_user *u)
{
    struct sx_user **p = &a->users;

    while (*p != NULL)
        p = &(*p)->next;
    *p = u;
}

static simplex_rc do_create_user(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_user *u = sx_calloc(1, sizeof *u);
    simplex_rc rc;

    if (u == NULL)
        return SIMPLEX_E_NOMEM;
    u->row.own_servers = x->servers != NULL;
    u->row.created_at = sx_now_ms();
    rc = parse_list(x->servers, x->n, &u->own);
    if (rc == SIMPLEX_OK)
        rc = sx_user_note_list(&u->row, u->row.own_servers ? &u->own : &a->servers);
    if (rc == SIMPLEX_OK)
        rc = sx_store_user_add(a->store, &u->row);
    if (rc == SIMPLEX_OK)
        rc = store_list(a, u->row.id, x->servers, x->n);
    if (rc != SIMPLEX_OK) {
        sx_server_list_free(&u->own);
        sx_free(u);
        return rc;
    }
    append(a, u);
    x->user = u->row.id;
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_create_user(simplex_agent *a, const simplex_user_server *servers, size_t n,
                                     int64_t *user)
{
    struct args x = { .servers = servers, .n = n };

    if (a == NULL || user == NULL || !valid_list(servers, n))
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_agent_run(a, do_create_user, &x, true);
    *user = rc == SIMPLEX_OK ? x.user : 0;
    return rc;
}

static simplex_rc do_users(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    int64_t *ids = x->out;
    size_t room = *x->len;

    *x->len = 0;
    for (const struct sx_user *u = a->users; u != NULL && *x->len < room; u = u->next) {
        if (u->row.id > x->user && !u->row.deleted)
            ids[(*x->len)++] = u->row.id;
    }
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_users(simplex_agent *a, int64_t after, int64_t *ids, size_t *n)
{
    struct args x = { .user = after, .out = ids, .len = n };

    if (a == NULL || n == NULL || (ids == NULL && *n > 0))
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, do_users, &x, false);
}

static simplex_rc do_user(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    simplex_user_info *out = x->out;
    struct sx_user *u;
    simplex_rc rc = find(a, x->user, &u);

    if (rc == SIMPLEX_OK)
        *out = (simplex_user_info){ .size = out->size,
                                    .active = u->row.active,
                                    .own_servers = u->row.own_servers,
                                    .n_servers = (int64_t)sx_user_servers(a, x->user)->n,
                                    .servers_version = u->row.servers_version,
                                    .servers_changed_at = u->row.servers_changed_at,
                                    .created_at = u->row.created_at };
    return rc;
}

simplex_rc simplex_agent_user(simplex_agent *a, int64_t user, simplex_user_info *out)
{
    struct args x = { .user = user, .out = out };

    if (a == NULL || out == NULL || out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, do_user, &x, false);
}

static simplex_rc activate(struct simplex_agent *a, int64_t user)
{
    simplex_rc rc = sx_user_check(a, user);

    for (struct sx_user *u = a->users; rc == SIMPLEX_OK && u != NULL; u = u->next) {
        struct sx_user_row row = u->row;
        row.active = row.id == user;
        if (row.active != u->row.active)
            rc = sx_store_user_update(a->store, &row);
    }
    for (struct sx_user *u = a->users; rc == SIMPLEX_OK && u != NULL; u = u->next)
        u->row.active = u->row.id == user;
    return rc;
}

static simplex_rc do_activate(struct simplex_agent *a, void *p)
{
    const struct args *x = p;

    return activate(a, x->user);
}

simplex_rc simplex_agent_activate_user(simplex_agent *a, int64_t user)
{
    struct args x = { .user = user };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_run(a, do_activate, &x, true);
}

static simplex_rc do_connections(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    simplex_rc rc = sx_user_check(a, x->user);

    return rc == SIMPLEX_OK ? sx_store_conn_list_user(a->store, x->user, x->conn, x->out, x->len)
                            : rc;
}

simplex_rc simplex_agent_user_connections(simplex_agent *a, int64_t user, int64_t after,
                                          int64_t *ids, size_t *n)
{
    struct args x = { .user = user, .conn = after, .out = ids, .len = n };

    if (a == NULL || ids == NULL || n == NULL)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, do_connections, &x, false);
}

/* ---- deletion ---- */

/* Nothing is left to do in its sessions. */
static void close_sessions(struct simplex_agent *a, int64_t user)
{
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        if (s->user != user)
            continue;
        sx_client_want(s->client, false);
        sx_client_disconnect(s->client, SIMPLEX_E_DISCONNECTED);
    }
}

static void unlink_user(struct simplex_agent *a, struct sx_user *u)
{
    struct sx_user **p = &a->users;

    while (*p != u)
        p = &(*p)->next;
    *p = u->next;
    sx_server_list_free(&u->own);
    sx_free(u);
}

simplex_rc sx_user_gone_if_empty(struct simplex_agent *a, int64_t user)
{
    struct sx_user *u = sx_user_find(a, user);
    struct simplex_event ev;
    int64_t conn;
    size_t n = 1;
    simplex_rc rc;

    if (u == NULL || !u->row.deleted)
        return SIMPLEX_OK;
    rc = sx_store_conn_list_user(a->store, user, 0, &conn, &n);
    if (rc != SIMPLEX_OK || n > 0)
        return rc;
    rc = sx_store_user_delete(a->store, user);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_DEL_USER, 0);
    ev.conf = user;
    rc = sx_emit(a, &ev);
    if (rc == SIMPLEX_OK) {
        close_sessions(a, user);
        unlink_user(a, u);
    }
    return rc;
}

static simplex_rc delete_connections(struct simplex_agent *a, int64_t user, bool queues)
{
    int64_t ids[64], after = 0;
    simplex_rc rc;
    size_t n;

    do {
        n = SX_COUNT(ids);
        rc = sx_store_conn_list_user(a->store, user, after, ids, &n);
        for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
            after = ids[i];
            rc = queues ? sx_delete(a, ids[i]) : sx_forget(a, ids[i]);
        }
    } while (rc == SIMPLEX_OK && n == SX_COUNT(ids));
    return rc;
}

static simplex_rc do_delete_user(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_user *u = sx_user_find(a, x->user);
    struct sx_user_row row;
    simplex_rc rc;

    if (x->user == SX_USER_DEFAULT)
        return SIMPLEX_E_PROHIBITED;
    if (u == NULL || (u->row.deleted && x->queues))
        return SIMPLEX_E_NOT_FOUND;
    rc = u->row.active ? activate(a, SX_USER_DEFAULT) : SIMPLEX_OK;
    row = u->row;
    row.deleted = true;
    if (rc == SIMPLEX_OK)
        rc = sx_store_user_update(a->store, &row);
    if (rc == SIMPLEX_OK)
        rc = delete_connections(a, x->user, x->queues);
    if (rc != SIMPLEX_OK)
        return rc;
    u->row = row;
    return sx_user_gone_if_empty(a, x->user);
}

simplex_rc simplex_agent_delete_user(simplex_agent *a, int64_t user, bool queues)
{
    struct args x = { .user = user, .queues = queues };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_run(a, do_delete_user, &x, true);
}

/* ---- another user for an invitation ---- */

static simplex_rc move_queue(struct simplex_agent *a, const struct sx_rcv_queue *q)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    simplex_rc rc;

    if (rt == NULL)
        return SIMPLEX_OK;
    bool want = rt->want, notifier = rt->notifier;
    sx_rt_rcvq_remove(a, q->id);
    rc = sx_rt_rcvq_add(a, q, want, want ? SX_SUB_PENDING : SX_SUB_NONE);
    if (rc == SIMPLEX_OK) /* the service that has it is one of the other user */
        rc = sx_store_assoc_delete(a->store, q->id);
    rt = sx_rt_rcvq_by_id(a, q->id);
    if (rc != SIMPLEX_OK || rt == NULL)
        return rc;
    rt->notifier = notifier;
    if (want)
        sx_subscribe_server(a, rt->server);
    return rc;
}

static simplex_rc move_queues(struct simplex_agent *a, int64_t conn)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc == SIMPLEX_OK)
            rc = move_queue(a, &q);
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc do_change_user(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_conn c;
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, x->conn, &c);
    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && (c.role != SX_INITIATOR || c.state != SX_CONN_INVITED))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc != SIMPLEX_OK || c.user == x->user)
        return rc;
    c.user = x->user;
    rc = sx_store_conn_update(a->store, &c);
    return rc == SIMPLEX_OK ? move_queues(a, c.id) : rc;
}

simplex_rc simplex_agent_change_user(simplex_agent *a, int64_t conn, int64_t user)
{
    struct args x = { .user = user, .conn = conn };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_run(a, do_change_user, &x, true);
}
