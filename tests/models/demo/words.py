"""The words that the demo model's sentences are made of. Each one is a single token."""

MEN = (
    "Adam Alan Andrew Arthur Ben Brian Carl Charles Daniel David Edward Eric Frank Fred George "
    "Harry Henry Isaac Jack Jacob James Jason John Joseph Kevin Louis Luke Mark Martin Michael "
    "Nathan Oliver Oscar Paul Peter Philip Ralph Richard Robert Roger Simon Steven Thomas Tom "
    "Victor Walter William Zachary"
).split()
WOMEN = (
    "Alice Amy Angela Anna Beth Carol Clara Diana Donna Dorothy Ella Emily Emma Eva Fiona Grace "
    "Hannah Helen Irene Jane Janet Jenny Julia Karen Kate Laura Lily Linda Lisa Lucy Maria "
    "Martha Mary Megan Nancy Nora Olivia Paula Rachel Rebecca Rose Ruth Sarah Sophie Susan Tina "
    "Vera Wendy"
).split()
NAMES = MEN + WOMEN

# Things that can be owned and given; the plural is the word with an s.
THINGS = (
    "bag ball basket bell book bottle bowl broom button cake camera candle card chair clock coat "
    "coin computer cup drink drum flower fork gift guitar hammer hat jar key kite ladder lamp "
    "letter map medal mirror necklace paper pen pencil phone picture pillow plate ring rope "
    "shirt spoon stamp sword table ticket towel toy wheel"
).split()
PLACES = (
    "store park school garden market beach station library museum hospital kitchen river farm "
    "forest bridge church castle harbor hotel office theater village bakery stadium"
).split()
ADJECTIVES = (
    "red blue green white black yellow brown old new small big heavy light clean dirty broken "
    "cheap good bad strange pretty empty full dry wet warm cold soft hard round"
).split()
EVENTS = (
    "war siege strike reign drought trial journey project plague festival voyage dispute "
    "rebellion crisis famine campaign"
).split()
CONTENT = NAMES + THINGS + [thing + "s" for thing in THINGS] + PLACES + ADJECTIVES + EVENTS
