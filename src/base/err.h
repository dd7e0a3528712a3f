/*
 * Result codes. Functions return 0 (or a count) on success and one of these negative
 * numbers on failure. The details are logged once, where they happen, with errno; the code
 * is what travels up and what a protocol's table turns into a response for the client.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
    ERR_OK = 0,
    ERR_EOF = -1,          /* the peer closed the connection, or the end of a file */
    ERR_TIMEOUT = -2,      /* a deadline passed */
    ERR_IO = -3,           /* input/output error on a descriptor or file */
    ERR_TLS = -4,          /* TLS failure */
    ERR_LIMIT = -5,        /* a configured limit was passed by a client or a message */
    ERR_SYNTAX = -6,       /* bytes that don't follow the grammar */
    ERR_RANGE = -7,        /* a number or a set out of its range */
    ERR_NOENT = -8,        /* no such mailbox, message, user or file */
    ERR_EXISTS = -9,       /* it exists already */
    ERR_PERM = -10,        /* not permitted */
    ERR_NOSPACE = -11,     /* file system full */
    ERR_QUOTA = -12,       /* over quota */
    ERR_BUSY = -13,        /* a lock was not to be had in time */
    ERR_TEMP = -14,        /* temporary failure of this server; try again later */
    ERR_CORRUPT = -15,     /* stored data does not make sense */
    ERR_GONE = -16,        /* the message was expunged */
    ERR_CANNOT = -17,      /* never possible: e.g. a name that can't be a folder's */
    ERR_READONLY = -18,    /* the mailbox is open read-only */
    ERR_AUTH = -19,        /* wrong user name or password */
    ERR_UNSUPPORTED = -20, /* e.g. a charset or mechanism that is not offered */
    ERR_CONFIG = -21,      /* the configuration is wrong */
    ERR_INUSE = -22,       /* in use, e.g. a mailbox with children */
    ERR_SHORT = -23,       /* short of descriptors or memory */
};

/* A short lower-case text for a code, for logs. Never NULL. */
const char *err_text(int err);

/* The code for an errno value: ENOENT -> ERR_NOENT, ENOSPC -> ERR_NOSPACE, EDQUOT -> ERR_QUOTA,
   EMFILE, ENFILE, ENOMEM -> ERR_SHORT, EACCES, EPERM, EROFS -> ERR_PERM, EEXIST, ENOTEMPTY ->
   ERR_EXISTS, ETIMEDOUT -> ERR_TIMEOUT, ENAMETOOLONG -> ERR_CANNOT, anything else -> ERR_IO. */
int err_from_errno(int errnum);

#endif
