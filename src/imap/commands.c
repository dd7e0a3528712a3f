/*
 * The commands: name, handler, states in which they are allowed, and what may be told to the
 * client at their end. Every state rule of RFC 3501 6 and of the extensions is in this table;
 * handlers hold none.
 *
 * Where a row names a capability, the command is unknown while the configuration hides that.
 */
#include <stdlib.h>
#include <string.h>

#include "imap/imap_session.h"

/* FETCH, STORE and SEARCH by sequence numbers: RFC 3501 7.4.1. */
#define BY_NUMBER (CMD_UID_OK | CMD_NO_EXPUNGE)

const struct imap_command imap_commands[] = {
    {"APPEND", cmd_append, STATE_LOGGED_IN, 0, NULL},
    {"AUTHENTICATE", cmd_authenticate, STATE_NOT_AUTH, CMD_NO_SYNC, NULL},
    {"CAPABILITY", cmd_capability, STATE_ANY, CMD_NO_ARGS, NULL},
    {"CHECK", cmd_check, STATE_SELECTED, CMD_NO_ARGS, NULL},
    {"CLOSE", cmd_close, STATE_SELECTED, CMD_NO_SYNC | CMD_NO_ARGS, NULL},
    {"COPY", cmd_copy, STATE_SELECTED, CMD_UID_OK, NULL},
    {"CREATE", cmd_create, STATE_LOGGED_IN, 0, NULL},
    {"DELETE", cmd_delete, STATE_LOGGED_IN, 0, NULL},
    {"ENABLE", cmd_enable, STATE_LOGGED_IN, 0, "ENABLE"},
    {"EXAMINE", cmd_examine, STATE_LOGGED_IN, CMD_NO_SYNC, NULL},
    {"EXPUNGE", cmd_expunge, STATE_SELECTED, CMD_UID_OK, NULL},
    {"FETCH", cmd_fetch, STATE_SELECTED, BY_NUMBER, NULL},
    {"GETQUOTA", cmd_getquota, STATE_LOGGED_IN, 0, "QUOTA"},
    {"GETQUOTAROOT", cmd_getquotaroot, STATE_LOGGED_IN, 0, "QUOTA"},
    {"ID", cmd_id, STATE_ANY, 0, "ID"},
    {"IDLE", cmd_idle, STATE_LOGGED_IN, CMD_NO_SYNC | CMD_NO_ARGS, "IDLE"},
    {"LIST", cmd_list, STATE_LOGGED_IN, 0, NULL},
    {"LOGIN", cmd_login, STATE_NOT_AUTH, CMD_NO_SYNC, NULL},
    {"LOGOUT", cmd_logout, STATE_ANY, CMD_NO_SYNC | CMD_NO_ARGS, NULL},
    {"LSUB", cmd_lsub, STATE_LOGGED_IN, 0, NULL},
    {"MOVE", cmd_move, STATE_SELECTED, CMD_UID_OK, "MOVE"},
    {"NAMESPACE", cmd_namespace, STATE_LOGGED_IN, CMD_NO_ARGS, "NAMESPACE"},
    {"NOOP", cmd_noop, STATE_ANY, CMD_NO_ARGS, NULL},
    {"RENAME", cmd_rename, STATE_LOGGED_IN, 0, NULL},
    {"SEARCH", cmd_search, STATE_SELECTED, BY_NUMBER, NULL},
    {"SELECT", cmd_select, STATE_LOGGED_IN, CMD_NO_SYNC, NULL},
    {"STARTTLS", cmd_starttls, STATE_NOT_AUTH, CMD_NO_SYNC | CMD_NO_ARGS, "STARTTLS"},
    {"STATUS", cmd_status, STATE_LOGGED_IN, 0, NULL},
    {"STORE", cmd_store, STATE_SELECTED, BY_NUMBER, NULL},
    {"SUBSCRIBE", cmd_subscribe, STATE_LOGGED_IN, 0, NULL},
    {"UNSELECT", cmd_unselect, STATE_SELECTED, CMD_NO_SYNC | CMD_NO_ARGS, "UNSELECT"},
    {"UNSUBSCRIBE", cmd_unsubscribe, STATE_LOGGED_IN, 0, NULL},
    {NULL, NULL, 0, 0, NULL},
};

#define COMMANDS (sizeof imap_commands / sizeof imap_commands[0] - 1)

static int
by_name(const void *key, const void *row)
{
    return strcmp(key, ((const struct imap_command *)row)->name);
}

const struct imap_command *
imap_find_command(const struct imap *im, const char *name)
{
    const struct imap_command *c =
        bsearch(name, imap_commands, COMMANDS, sizeof imap_commands[0], by_name);

    if (c != NULL && c->capability != NULL && imap_hidden(im, c->capability))
        return NULL;
    return c;
}

const char *
imap_command_fault(const struct imap *im, const struct imap_command *c)
{
    if (c == NULL)
        return "Unknown command";
    if (im->parse.uid && !(c->flags & CMD_UID_OK))
        return "This command has no UID form";
    if (im->parse.uid && c->handler == cmd_expunge && imap_hidden(im, "UIDPLUS"))
        return "Unknown command";
    if (c->states & im->state)
        return NULL;
    if (im->state == STATE_NOT_AUTH)
        return "Log in first";
    if (c->states == STATE_NOT_AUTH)
        return "Already logged in";
    return "Select a mailbox first";
}
