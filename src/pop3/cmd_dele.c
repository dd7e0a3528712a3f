/*
 * DELE, RSET, QUIT (RFC 1939 5 and 6). Only QUIT removes anything: a session that ends in any
 * other way has deleted nothing.
 */
#include "base/err.h"
#include "pop3/pop3_session.h"

void
pop3_cmd_dele(struct pop3 *p)
{
    uint32_t n = pop3_message(p, 0);

    if (n == 0)
        return;
    maildrop_delete(p->drop, n);
    pop3_ok(p, "Marked as deleted");
}

void
pop3_cmd_rset(struct pop3 *p)
{
    maildrop_reset(p->drop);
    pop3_ok(p, "No message is marked as deleted");
}

void
pop3_cmd_quit(struct pop3 *p)
{
    int err = p->drop != NULL ? maildrop_update(p->drop) : 0;

    p->over = true;
    if (err < 0)
        pop3_err(p, "[SYS/TEMP] The deleted messages could not be removed");
    else
        pop3_ok(p, "Bye");
}
