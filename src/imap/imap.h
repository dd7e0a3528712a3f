/*
 * The IMAP session as the worker sees it: serves one connection to its end. The greeting is
 * sent here.
 */
#ifndef IMAP_IMAP_H
#define IMAP_IMAP_H

struct session;

void imap_session(struct session *s);

#endif
