/* terminal.c - the only file that knows ncurses. */
#include "tui/terminal.h"

#include "tui/line.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <term.h>
#include <unistd.h>
#include <wchar.h>

#define PALETTE 257 /* colours and the default one */

static struct {
    bool started;
    struct ledger *ledger;
    SCREEN *screen;
    FILE *out, *in; /* curses writes to a file in memory and reads the terminal */
    int memory;     /* that file */
    struct cells shown;
    bool all; /* nothing of what is on the screen is known */
    int w, h, x, y;
    bool utf8, mouse, pastes;
    uint16_t *pair_of; /* [PALETTE, PALETTE] */
    int n_pairs, room_pairs;
} it = {.memory = -1};

static const char paste_on[] = "\033[?2004h", paste_off[] = "\033[?2004l";
static const char mouse_on[] = "\033[?1000h\033[?1006h", mouse_off[] = "\033[?1006l\033[?1000l";

/* Sends what curses has written since. */
static void forward(void)
{
    char buffer[8192];
    ssize_t n;
    fflush(it.out);
    lseek(it.memory, 0, SEEK_SET);
    while ((n = read(it.memory, buffer, sizeof buffer)) > 0)
        line_send(buffer, (size_t)n);
    lseek(it.memory, 0, SEEK_SET);
    /* (a file in memory: what would fail here fails nowhere) */
    int rc = ftruncate(it.memory, 0);
    (void)rc;
}

/* What the terminal is told for this, or NULL. */
static const char *capability(const char *name)
{
    const char *s = tigetstr(name);
    return (intptr_t)s == -1 ? NULL : s;
}

static void add_leave_capability(const char *name)
{
    /* Delays ($<5>) are for terminals of wire and paper. */
    const char *s = capability(name);
    if (s && !strstr(s, "$<"))
        line_add_leave(s);
}

/* Bracketed paste and the mouse are private modes that others ignore, but not all. */
static bool is_xterm_like(const char *name)
{
    static const char *const names[] = {"xterm", "screen",    "tmux",  "rxvt", "putty", "konsole",
                                        "foot",  "alacritty", "gnome", "vte",  "kitty", NULL};
    for (int i = 0; names[i]; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void close_files(void)
{
    if (it.out)
        fclose(it.out);
    else if (it.memory >= 0)
        close(it.memory);
    if (it.in)
        fclose(it.in);
    it.out = it.in = NULL;
    it.memory = -1;
}

static void close_screen(void)
{
    if (it.screen)
        delscreen(it.screen);
    it.screen = NULL;
    cells_fini(&it.shown);
    mem_free(it.ledger, it.pair_of);
    it.pair_of = NULL;
    close_files();
    line_close();
}

/* ---- starting ---- */

static const char *terminal_name(void)
{
    const char *name = getenv("TERM"), *more = getenv("COLORTERM");
    if (!name || !*name)
        return NULL;
    /* Many terminals call themselves xterm and know 256 colours: COLORTERM tells. */
    if (more && *more && strcmp(name, "xterm") == 0)
        return "xterm-256color";
    if (more && *more && strcmp(name, "screen") == 0)
        return "screen-256color";
    return name;
}

static bool open_screen(struct error *err)
{
    const char *name = terminal_name();
    if (!name)
        return error_set(err, ERR_UNSUPPORTED, "TERM is not set: what terminal is this?");
    it.memory = memfd_create("midpass-screen", MFD_CLOEXEC);
    it.out = it.memory < 0 ? NULL : fdopen(it.memory, "w");
    it.in = fdopen(fcntl(line_in(), F_DUPFD_CLOEXEC, 10), "r");
    if (!it.out || !it.in)
        return error_set(err, ERR_FILE, "the screen's files: %s", strerror(errno));
    /* Asked first: newterm would lose some memory over a name that it does not know. */
    int found = 0;
    if (setupterm(name, it.memory, &found) != OK)
        return error_set(err, ERR_UNSUPPORTED, "the terminal \"%.40s\" (TERM) is not known here",
                         name);
    del_curterm(cur_term);
    it.screen = newterm(name, it.out, it.in);
    if (!it.screen)
        return error_set(err, ERR_UNSUPPORTED, "the terminal \"%.40s\" cannot be opened", name);
    if (!capability("cup")) {
        endwin();
        return error_set(err, ERR_UNSUPPORTED, "the terminal \"%.40s\" cannot place its cursor",
                         name);
    }
    nonl();
    noecho();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    leaveok(stdscr, FALSE);
    scrollok(stdscr, FALSE);
    set_escdelay(25);
    define_key("\033[200~", KEY_MAX + 1);
    define_key("\033[201~", KEY_MAX + 2);
    define_key("\033[I", KEY_MAX + 3); /* focus in and out, if something asked for them */
    define_key("\033[O", KEY_MAX + 3);
    it.mouse = false;
    it.pastes = is_xterm_like(name);
    if (it.pastes) {
        line_add_leave(paste_off);
        line_add_leave(mouse_off);
    }
    add_leave_capability("sgr0");
    add_leave_capability("rmkx");
    add_leave_capability("rmcup");
    add_leave_capability("cnorm"); /* last: some keep a cursor's looks with the screen */
    if (!capability("rmcup"))
        line_add_leave("\r\n");
    return true;
}

static void find_colours(struct terminal_facts *facts)
{
    facts->colours = 0;
    it.room_pairs = 0;
    if (has_colors() && start_color() == OK) {
        use_default_colors();
        it.room_pairs = COLOR_PAIRS > 65535 ? 65535 : COLOR_PAIRS;
        facts->colours = COLORS >= 256 ? 256 : COLORS >= 16 ? 16 : COLORS >= 8 ? 8 : 0;
    }
    it.n_pairs = 1;
}

bool terminal_start(struct ledger *l, struct terminal_facts *facts, struct error *err)
{
    it.ledger = l;
    it.utf8 = facts->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (!line_open(err))
        return false;
    it.pair_of = mem_alloc_array(l, MEM_OTHER, (size_t)PALETTE * PALETTE, sizeof *it.pair_of, err);
    if (!it.pair_of || !cells_init(&it.shown, l, 1, 1, err) || !open_screen(err) ||
        !line_redirect(err)) {
        close_screen();
        return false;
    }
    find_colours(facts);
    it.started = true;
    line_take_modes();
    if (it.pastes)
        line_send(paste_on, sizeof paste_on - 1);
    it.w = it.h = 0;
    int w, h;
    terminal_measure(&w, &h);
    return true;
}

void terminal_stop(void)
{
    if (!it.started)
        return;
    it.started = false;
    curs_set(1);
    endwin();
    forward();
    line_emergency();
    close_screen();
}

void terminal_suspend(void)
{
    struct sigaction own, normal = {.sa_handler = SIG_DFL};
    bool mouse = it.mouse;
    sigset_t set, before;
    if (!it.started)
        return;
    terminal_mouse_on(false);
    endwin();
    forward();
    line_give();
    sigemptyset(&normal.sa_mask);
    sigaction(SIGTSTP, &normal, &own);
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &set, &before);
    kill(0, SIGTSTP);
    /* Here again after fg. */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGTSTP, &own, NULL);
    terminal_resume();
    terminal_mouse_on(mouse);
}

void terminal_resume(void)
{
    if (!it.started)
        return;
    line_take_modes();
    if (it.pastes)
        line_send(paste_on, sizeof paste_on - 1);
    if (it.mouse)
        line_send(mouse_on, sizeof mouse_on - 1);
    terminal_redraw();
}

/* ---- showing ---- */

bool terminal_measure(int *w, int *h)
{
    struct winsize size = {0};
    if (ioctl(line_out(), TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
        size.ws_col = it.w > 0 ? (unsigned short)it.w : 80;
        size.ws_row = it.h > 0 ? (unsigned short)it.h : 24;
    }
    *w = size.ws_col > 1000 ? 1000 : size.ws_col;
    *h = size.ws_row > 1000 ? 1000 : size.ws_row;
    if (*w == it.w && *h == it.h)
        return false;
    it.w = *w;
    it.h = *h;
    resizeterm(*h, *w);
    it.all = true;
    return true;
}

void terminal_redraw(void)
{
    it.all = true;
}

/* The pair of two colours. When all are used up, the numbering begins anew. */
static int pair_find(int fg, int bg)
{
    if (it.room_pairs <= 1 || (fg == COLOUR_DEFAULT && bg == COLOUR_DEFAULT))
        return 0;
    if (fg < -1 || fg >= PALETTE - 1 || bg < -1 || bg >= PALETTE - 1)
        return 0;
    uint16_t *p = &it.pair_of[(fg + 1) * PALETTE + bg + 1];
    if (*p)
        return *p;
    if (it.n_pairs >= it.room_pairs) {
        memset(it.pair_of, 0, (size_t)PALETTE * PALETTE * sizeof *it.pair_of);
        it.n_pairs = 1;
    }
    if (init_extended_pair(it.n_pairs, fg, bg) != OK)
        return 0;
    *p = (uint16_t)it.n_pairs;
    return it.n_pairs++;
}

static void put(int x, int y, const struct cell *c)
{
    wchar_t wide[CCHARW_MAX + 1] = {0};
    cchar_t glyph;
    attr_t attr = A_NORMAL;
    bool plain = (unsigned char)c->glyph[0] < 0x80;
    if (c->style.attr & ATTR_BOLD)
        attr |= A_BOLD;
    if (c->style.attr & ATTR_DIM)
        attr |= A_DIM;
    if (c->style.attr & ATTR_REVERSE)
        attr |= A_REVERSE;
    if (c->style.attr & ATTR_UNDERLINE)
        attr |= A_UNDERLINE;
    if (plain) {
        wide[0] = c->glyph[0] < ' ' || c->glyph[0] == 127 ? L' ' : (wchar_t)c->glyph[0];
    } else if (!it.utf8) {
        wide[0] = L'?';
    } else {
        const char *s = c->glyph;
        mbstate_t state = {0};
        char copy[sizeof c->glyph + 1] = {0};
        memcpy(copy, s, sizeof c->glyph);
        s = copy;
        size_t n = mbsrtowcs(wide, &s, CCHARW_MAX, &state);
        /* A first character without a width would shift the line. */
        if (n == (size_t)-1 || n == 0 || wcwidth(wide[0]) != c->width)
            wide[0] = L'?', wide[1] = 0;
    }
    int pair = pair_find(c->style.fg, c->style.bg);
    if (setcchar(&glyph, wide, attr, 0, &pair) == OK)
        mvadd_wch(y, x, &glyph);
    if (c->width == 2 && wide[0] == L'?')
        mvaddch(y, x + 1, ' ');
}

static bool same(const struct cell *a, const struct cell *b)
{
    return a->width == b->width && style_equal(a->style, b->style) &&
           strncmp(a->glyph, b->glyph, sizeof a->glyph) == 0;
}

bool terminal_show(const struct cells *c, int x, int y, struct error *err)
{
    if (it.shown.w != c->w || it.shown.h != c->h) {
        if (!cells_resize(&it.shown, c->w, c->h, err))
            return false;
        it.all = true;
    }
    if (it.all) {
        erase();
        clearok(curscr, TRUE);
    }
    for (int row = 0; row < c->h && row < it.h; row++)
        for (int i = 0; i < c->w && i < it.w; i++) {
            const struct cell *now = &c->cell[row * c->w + i];
            struct cell *old = &it.shown.cell[row * c->w + i];
            if (now->width == 0 || (!it.all && same(now, old)))
                continue;
            put(i, row, now);
        }
    memcpy(it.shown.cell, c->cell, (size_t)c->w * (size_t)c->h * sizeof *c->cell);
    it.all = false;
    curs_set(x >= 0 && y >= 0);
    if (x >= 0 && y >= 0)
        move(y < it.h ? y : it.h - 1, x < it.w ? x : it.w - 1);
    else
        move(it.h - 1, 0);
    refresh();
    forward();
    return !line_lost() || error_set(err, ERR_FILE, "the terminal is gone");
}

/* ---- keys ---- */

static int special(wint_t k, struct terminal_mouse *mouse)
{
    static const struct {
        wint_t curses;
        int key;
    } keys[] = {{KEY_UP, KEY_UP_ARROW},         {KEY_DOWN, KEY_DOWN_ARROW},
                {KEY_LEFT, KEY_LEFT_ARROW},     {KEY_RIGHT, KEY_RIGHT_ARROW},
                {KEY_PPAGE, KEY_PAGE_UP},       {KEY_NPAGE, KEY_PAGE_DOWN},
                {KEY_HOME, KEY_HOME_KEY},       {KEY_FIND, KEY_HOME_KEY},
                {KEY_END, KEY_END_KEY},         {KEY_SELECT, KEY_END_KEY},
                {KEY_DC, KEY_DELETE_KEY},       {KEY_BTAB, KEY_BACK_TAB},
                {KEY_F(1), KEY_FUNCTION_1},     {KEY_BACKSPACE, KEY_RUBOUT},
                {KEY_ENTER, KEY_RETURN},        {KEY_RESIZE, KEY_WINDOW_SIZE},
                {KEY_MAX + 1, KEY_PASTE_BEGIN}, {KEY_MAX + 2, KEY_PASTE_END}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (keys[i].curses == k)
            return keys[i].key;
    MEVENT e;
    if (k != KEY_MOUSE || getmouse(&e) != OK)
        return KEY_NONE;
    mouse->x = e.x;
    mouse->y = e.y;
    if (e.bstate & (BUTTON1_DOUBLE_CLICKED | BUTTON1_TRIPLE_CLICKED))
        mouse->action = MOUSE_DOUBLE;
    else if (e.bstate & (BUTTON1_PRESSED | BUTTON1_CLICKED))
        mouse->action = MOUSE_PRESS;
    else if (e.bstate & BUTTON4_PRESSED)
        mouse->action = MOUSE_WHEEL_UP;
    else if (e.bstate & BUTTON5_PRESSED)
        mouse->action = MOUSE_WHEEL_DOWN;
    else
        return KEY_NONE;
    return KEY_MOUSE_EVENT;
}

int terminal_key(struct terminal_mouse *mouse)
{
    wint_t k;
    for (int i = 0; i < 64; i++) {
        int kind = get_wch(&k);
        if (kind == ERR)
            return KEY_NONE;
        int key = kind == KEY_CODE_YES ? special(k, mouse) : k == 8 ? KEY_RUBOUT : (int)k;
        if (key == 10)
            key = KEY_RETURN;
        if (key != KEY_NONE)
            return key;
    }
    return KEY_NONE;
}

void terminal_mouse_on(bool on)
{
    if (on == it.mouse || !it.started)
        return;
    it.mouse = on;
    mousemask(on ? BUTTON1_PRESSED | BUTTON1_CLICKED | BUTTON1_DOUBLE_CLICKED | BUTTON4_PRESSED |
                       BUTTON5_PRESSED
                 : 0,
              NULL);
    mouseinterval(on ? 150 : 0);
    forward();
    line_send(on ? mouse_on : mouse_off, on ? sizeof mouse_on - 1 : sizeof mouse_off - 1);
}
