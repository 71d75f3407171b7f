#include "engine/debug/export_python.h"

#include "engine/debug/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INLINE_NUMBERS 64 /* an array of more lies in the file beside the script */

static const char loading[] =
    "def load():\n"
    "    try:\n"
    "        from transformer_lens import HookedTransformer\n"
    "    except ImportError:  # newer releases have the bridge alone, and read the folder itself\n"
    "        from transformer_lens.model_bridge import TransformerBridge\n"
    "\n"
    "        model = TransformerBridge.boot_transformers(FOLDER, dtype=torch.float32)\n"
    "        model.enable_compatibility_mode(no_processing=True)\n"
    "        return model\n"
    "    # HookedTransformer knows architectures by the names of published models: NAME is the "
    "one\n"
    "    # whose shape these weights have, and hf_model= brings the weights.\n"
    "    if NAME is None:\n"
    "        sys.exit(\"say which published model this is: python \" + sys.argv[0] + \" NAME\")\n"
    "    from transformers import AutoModelForCausalLM\n"
    "\n"
    "    hf_model = AutoModelForCausalLM.from_pretrained(FOLDER, torch_dtype=torch.float32)\n"
    "    return HookedTransformer.from_pretrained_no_processing(\n"
    "        NAME, hf_model=hf_model, dtype=torch.float32\n"
    "    )\n";

static const char running[] =
    "\n\n"
    "with torch.no_grad():\n"
    "    logits = model.run_with_hooks(tokens, fwd_hooks=hooks)\n"
    "    for edit in after:\n"
    "        logits = edit(logits)\n"
    "logits = logits[0, -1].float()\n"
    "probabilities = logits.softmax(-1)\n"
    "for rank, id in enumerate(logits.topk(min(5, len(logits))).indices.tolist()):\n"
    "    piece = repr(model.tokenizer.decode([id])) if model.tokenizer else \"\"\n"
    "    print(f\"{rank:4d}  {probabilities[id]:8.6f}  {logits[id]:9.4f}  {id:6d}  {piece}\")\n";

static void add_number_word(struct text *t, double x)
{
    if (isnan(x))
        text_add(t, "float(\"nan\")");
    else if (isinf(x))
        text_add(t, x > 0 ? "float(\"inf\")" : "float(\"-inf\")");
    else
        text_printf(t, "%.9g", x);
}

/* The folder in the hub's cache tells the published name: models--org--name/snapshots/... */
static void add_name(struct text *t, const char *folder)
{
    const char *p = strstr(folder, "/models--");
    if (!p) {
        text_add(t, "None");
        return;
    }
    p += strlen("/models--");
    size_t n = strcspn(p, "/");
    struct text name;
    text_init(&name, t->ledger, MEM_OTHER);
    for (size_t i = 0; i < n; i++) {
        bool parts = i + 1 < n && p[i] == '-' && p[i + 1] == '-';
        text_add_bytes(&name, parts ? "/" : p + i, 1);
        i += parts;
    }
    if (!name.failed && name.data)
        text_add_json(t, name.data, name.n);
    t->failed = t->failed || name.failed;
    text_fini(&name);
}

static void add_start(struct text *t, const struct session *s)
{
    char real[PATH_MAX];
    const char *folder = realpath(s->model.folder, real) ? real : s->model.folder;
    text_add(t, "#!/usr/bin/env python3\n"
                "\"\"\"A midpass session's prompt and patches, in TransformerLens.\"\"\"\n"
                "import os\nimport sys\n\nimport torch\n\nFOLDER = ");
    text_add_json(t, folder, strlen(folder));
    text_add(t, "\nNAME = sys.argv[1] if len(sys.argv) > 1 else ");
    add_name(t, folder);
    text_add(t, "\n\n\n");
    text_add(t, loading);
    text_add(t, "\n\nmodel = load()\nmodel.eval()\ntokens = torch.tensor(\n    [\n        [");
    for (int i = 0; i < s->trace.n_ids; i++)
        text_printf(t, "%s%d,", i % 16 ? " " : "\n            ", (int)s->trace.ids[i]);
    text_add(t, "\n        ]\n    ],\n    device=next(model.parameters()).device,\n)\n"
                "hooks = []  # (name, function)\nafter = []  # edits of the logits themselves\n");
}

/* The operand as a name that the function can use; NULL for one number. */
static bool add_operand(struct text *t, const struct patch *p, bool by_head,
                        struct state_arrays *arrays, struct error *err)
{
    const struct value *v = &p->operand;
    size_t outer = p->n_picks == 2 ? p->picks[0].count : 1, inner = p->picks[p->n_picks - 1].count;
    if (v->n_dims == 0)
        return true;
    text_printf(t, "values_%d = ", p->id);
    if (v->count <= INLINE_NUMBERS) {
        text_add(t, "torch.tensor([");
        for (size_t i = 0; i < v->count; i++) {
            text_add(t, i ? ", " : "");
            add_number_word(t, (double)v->data[i]);
        }
        text_add(t, "])");
    } else {
        char name[32];
        snprintf(name, sizeof name, "patch_%d", p->id);
        text_printf(t, "arrays()[\"%s\"]", name);
        if (!state_arrays_add(arrays, name, v, err))
            return false;
    }
    if (p->n_picks == 2)
        text_printf(t, ".reshape(%zu, %s%zu)", outer, by_head ? "1, " : "", inner);
    text_add(t, ".to(tokens.device)\n");
    return true;
}

static void add_slice(struct text *t, const struct pick *p)
{
    text_printf(t, ", %lld:%lld", (long long)p->first, (long long)p->first + (long long)p->count);
}

/* The function's body. Scores and patterns are changed where the row can see alone, as midpass
 * does; queries beyond the sequence are cut off by Python's own slices. */
static void add_body(struct text *t, const struct patch *p, bool by_head)
{
    static const char *const words[] = {
        [PATCH_SET] = " = ", [PATCH_ADD] = " += ", [PATCH_SCALE] = " *= "};
    const struct pick *inner = &p->picks[p->n_picks - 1];
    long long end = p->last == PATCH_TO_THE_END ? -1 : (long long)p->last + 1;
    char stop[32] = "";
    if (end >= 0)
        snprintf(stop, sizeof stop, "%lld", end);
    if (by_head) {
        text_printf(t, "    for query in range(%d, ", p->first);
        if (end >= 0)
            text_printf(t, "min(%lld, value.shape[2])):\n", end);
        else
            text_add(t, "value.shape[2]):\n");
        text_printf(t, "        key = min(%lld, query + 1)\n        value[:",
                    (long long)inner->first + (long long)inner->count);
        add_slice(t, &p->picks[0]);
        text_printf(t, ", query:query + 1, %lld:key]%s", (long long)inner->first, words[p->kind]);
        if (p->operand.n_dims > 0)
            text_printf(t, "values_%d[:, :, :max(0, key - %lld)]", p->id, (long long)inner->first);
    } else {
        text_printf(t, "    value[:, %d:%s", p->first, stop);
        for (int i = 0; i < p->n_picks; i++)
            add_slice(t, &p->picks[i]);
        text_printf(t, "]%s", words[p->kind]);
        if (p->operand.n_dims > 0)
            text_printf(t, "values_%d", p->id);
    }
    if (p->operand.n_dims == 0)
        add_number_word(t, p->operand.number);
    text_add(t, "\n    return value\n");
}

static bool add_patch(struct text *t, const struct patch *p, struct state_arrays *arrays,
                      int *left_out, struct error *err)
{
    bool by_head = site_axes(p->site) == AXES_HTS;
    char name[64];
    text_printf(t, "\n# patch %d: ", p->id);
    text_add_shown(t, p->text, strlen(p->text), false);
    text_add(t, "\n");
    if (!p->enabled) {
        text_add(t, "# It is disabled.\n");
        return true;
    }
    if (p->kind == PATCH_TOKEN) {
        text_add(t, "# The tokens above have it.\n");
        return true;
    }
    if (p->site == SITE_UNEMBED_IN || p->site == SITE_UNEMBED_OUT) {
        text_printf(t, "# LEFT OUT: TransformerLens has no hook %s.\n",
                    site_name(p->site, 0, name));
        (*left_out)++;
        return true;
    }
    if (!add_operand(t, p, by_head, arrays, err))
        return false;
    text_printf(t, "\n\ndef patch_%d(value, hook=None):\n", p->id);
    add_body(t, p, by_head);
    text_add(t, "\n\n");
    if (p->site == SITE_RESULT)
        text_add(t, "model.set_use_attn_result(True)\n");
    if (p->site == SITE_LOGITS)
        text_printf(t, "after.append(patch_%d)\n", p->id);
    else if (!site_in_block(p->site))
        text_printf(t, "hooks.append((\"%s\", patch_%d))\n", site_name(p->site, 0, name), p->id);
    else
        text_printf(t,
                    "for layer in range(%d, %d):\n"
                    "    hooks.append((f\"blocks.{layer}.%s\", patch_%d))\n",
                    p->layer_first, p->layer_last + 1, site_suffix(p->site), p->id);
    return true;
}

/* The scripts' own way to the file beside it, whose name may be anything. */
static void add_arrays(struct text *t, const char *file)
{
    text_add(t, "\n\ndef arrays():\n"
                "    from safetensors.torch import load_file\n"
                "\n"
                "    here = os.path.dirname(os.path.abspath(__file__))\n"
                "    return load_file(os.path.join(here, ");
    text_add_json(t, file, strlen(file));
    text_add(t, "))\n\n");
}

static bool write_all(struct ledger *l, const char *path, const struct text *t, struct error *err)
{
    struct file_writer w;
    if (!text_ok(t, err) || !file_create(&w, l, path, err))
        return false;
    if (file_write(&w, t->data, t->n, err))
        return file_commit(&w, err);
    file_abandon(&w);
    return false;
}

bool export_python(struct console *c, const char *path, int *left_out, struct error *err)
{
    const struct session *s = c->session;
    const struct patches *p = &s->patches;
    struct text all, body, beside;
    struct state_arrays arrays = {.ledger = c->ledger};
    const char *slash = strrchr(path, '/');
    *left_out = 0;
    if (!s->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    text_init(&all, c->ledger, MEM_OTHER);
    text_init(&body, c->ledger, MEM_OTHER);
    text_init(&beside, c->ledger, MEM_OTHER);
    text_add(&beside, path);
    text_add(&beside, ".safetensors");
    bool ok = text_ok(&beside, err);
    for (int i = 0; ok && i < p->n; i++)
        ok = add_patch(&body, &p->list[i], &arrays, left_out, err);
    ok = ok && text_ok(&body, err);
    if (ok) {
        add_start(&all, s);
        if (arrays.n > 0)
            add_arrays(&all, beside.data + (slash ? slash + 1 - path : 0));
        text_add_bytes(&all, body.data ? body.data : "", body.n);
        text_add(&all, running);
        ok = (arrays.n == 0 || state_arrays_write(&arrays, beside.data, err)) &&
             write_all(c->ledger, path, &all, err);
    }
    state_arrays_fini(&arrays);
    text_fini(&all);
    text_fini(&body);
    text_fini(&beside);
    return ok;
}
