/*
 * What other files of the store need of message.c. Nobody else includes this.
 */
#ifndef STORE_MESSAGE_PRIVATE_H
#define STORE_MESSAGE_PRIVATE_H

#include "store/message.h"

/* Opens the file of *m in the folder `fd` by its recorded name only. ERR_NOENT, ERR_*. */
int message_open(int fd, const struct index_message *m, struct message **out);
/* Reads the file once to fill m->size and m->crlf_size. ERR_NOENT, ERR_*. */
int message_measure(int fd, struct index_message *m);

#endif
