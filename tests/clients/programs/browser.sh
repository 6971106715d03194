#!/bin/sh
# The browser that clients are told of in BROWSER: it hands the address over to the run, one a line.
printf '%s\n' "$1" >>"$OPENED"
