/* tokenizer_property.c - names of character properties that Oniguruma has and PCRE2 has not. */
#include "engine/model/tokenizer_parts.h"

#include <string.h>

static const struct tok_property properties[] = {
    {"letter", "L", false},
    {"mark", "M", false},
    {"number", "N", false},
    {"punctuation", "P", false},
    {"symbol", "S", false},
    {"separator", "Z", false},
    {"other", "C", false},
    {"uppercaseletter", "Lu", false},
    {"lowercaseletter", "Ll", false},
    {"titlecaseletter", "Lt", false},
    {"modifierletter", "Lm", false},
    {"otherletter", "Lo", false},
    {"casedletter", "L&", false},
    {"lc", "L&", false},
    {"nonspacingmark", "Mn", false},
    {"spacingmark", "Mc", false},
    {"enclosingmark", "Me", false},
    {"combiningmark", "M", false},
    {"decimalnumber", "Nd", false},
    {"letternumber", "Nl", false},
    {"othernumber", "No", false},
    {"connectorpunctuation", "Pc", false},
    {"dashpunctuation", "Pd", false},
    {"openpunctuation", "Ps", false},
    {"closepunctuation", "Pe", false},
    {"initialpunctuation", "Pi", false},
    {"finalpunctuation", "Pf", false},
    {"otherpunctuation", "Po", false},
    {"mathsymbol", "Sm", false},
    {"currencysymbol", "Sc", false},
    {"modifiersymbol", "Sk", false},
    {"othersymbol", "So", false},
    {"spaceseparator", "Zs", false},
    {"lineseparator", "Zl", false},
    {"paragraphseparator", "Zp", false},
    {"control", "Cc", false},
    {"cntrl", "Cc", false},
    {"format", "Cf", false},
    {"unassigned", "Cn", false},
    {"privateuse", "Co", false},
    {"surrogate", "Cs", false},
    {"alpha", "Alphabetic", false},
    {"digit", "Nd", false},
    {"space", "White_Space", false},
    {"upper", "Uppercase", false},
    {"lower", "Lowercase", false},
    {"punct", "P", false},
    {"word", TOK_CLASS_WORD, true},
    {"alnum", "\\p{Alphabetic}\\p{Nd}", true},
    {"xdigit", TOK_HEX, true},
    {"blank", "\\t\\p{Zs}", true},
};

const struct tok_property *tok_property_find(const char *name)
{
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        if (strcmp(name, properties[i].name) == 0)
            return &properties[i];
    return NULL;
}
