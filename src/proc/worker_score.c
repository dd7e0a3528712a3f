/*
 * What a worker writes into its slot of the scoreboard: for each change of state or command a
 * few stores between score_begin() and score_end(), texts only where they differ.
 */
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "net/stream.h"
#include "proc/worker.h"

static void
set_text(char *field, size_t size, const char *text)
{
    if (strncmp(field, text, size - 1) != 0)
        snprintf(field, size, "%s", text);
}

void
worker_score_session(struct score *score, const struct session *s, enum session_state state,
                     const char *user, const char *command)
{
    score_begin(score);
    if (score->state != (uint8_t)((unsigned)state + 1)) {
        score->state = (uint8_t)((unsigned)state + 1);
        score->since = sys_now();
    }
    score->tls = stream_is_tls(s->stream);
    score->bytes_in = stream_bytes_in(s->stream);
    score->bytes_out = stream_bytes_out(s->stream);
    if (user != NULL)
        set_text(score->user, sizeof score->user, user);
    if (command != NULL)
        set_text(score->command, sizeof score->command, command);
    score_end(score);
}

static void
clear(struct score *score, unsigned state)
{
    score->state = (uint8_t)state;
    score->tls = 0;
    score->since = sys_now();
    memset(score->user, 0, sizeof score->user);
    memset(score->peer, 0, sizeof score->peer);
    memset(score->command, 0, sizeof score->command);
    memset(score->session, 0, sizeof score->session);
}

void
worker_score_connected(struct score *score, const struct session *s, uint64_t connections)
{
    score_begin(score);
    clear(score, SESSION_GREETING + 1);
    score->connected = score->since;
    score->bytes_in = score->bytes_out = 0;
    score->connections = connections;
    set_text(score->peer, sizeof score->peer, s->peer.address);
    set_text(score->session, sizeof score->session, s->id);
    score_end(score);
}

void
worker_score_idle(struct score *score)
{
    score_begin(score);
    clear(score, 0);
    score_end(score);
}
