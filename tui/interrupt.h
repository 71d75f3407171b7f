/* interrupt.h - Ctrl-C outside of the screen: a flag that runs look at between ops, and a
 * descriptor for whoever waits. */
#ifndef MIDPASS_INTERRUPT_H
#define MIDPASS_INTERRUPT_H

/* Takes SIGINT from here on. Without descriptors left interrupt_fd is -1. */
void interrupt_start(void);
/* 1 once Ctrl-C was pressed, until somebody sets it to 0. */
extern volatile int interrupt_flag;
/* Can be read behind each Ctrl-C, also one that came before the wait for it began and whichever
 * thread took the signal. */
int interrupt_fd(void);
/* Reads away what stands there. The flag stays. */
void interrupt_drain(void);

#endif
