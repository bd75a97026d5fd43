"""Date and time formats of the admin: to the second, with the time zone."""

DATETIME_FORMAT = "j M Y, H:i:s e"
SHORT_DATETIME_FORMAT = DATETIME_FORMAT
TIME_FORMAT = "H:i:s"
