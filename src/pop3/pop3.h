/*
 * The POP3 session as the worker sees it: serves one connection to its end. The greeting is
 * sent here.
 */
#ifndef POP3_POP3_H
#define POP3_POP3_H

struct session;

void pop3_session(struct session *s);

#endif
