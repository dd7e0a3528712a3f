/*
 * What a LIST or LSUB command asks for: parsed by list_args.c, answered by cmd_list.c.
 */
#ifndef IMAP_LIST_H
#define IMAP_LIST_H

#include "imap/imap_session.h"

struct list_request {
    bool lsub;
    bool extended;                          /* in any of the three ways of RFC 5258 1 */
    bool select_subscribed, select_special; /* selection options; REMOTE selects nothing here */
    bool recursive;                         /* RECURSIVEMATCH */
    bool show_subscribed, show_children, show_special; /* attributes to be told */
    unsigned status;                                   /* RETURN (STATUS ...): items, or 0 */
    const char *reference;
    const char **patterns; /* with the reference in front; empty ones are left out */
    size_t patterns_count;
};

/* Reads the arguments. NULL, or a text for BAD. */
const char *list_read_args(struct imap *im, struct list_request *rq);

#endif
