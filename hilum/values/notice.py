"""The sentence that stands wherever a user sees an answer."""

NOTICE = "research use only, not a medical device"
SENTENCE = NOTICE.capitalize() + "."
