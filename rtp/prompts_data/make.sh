#!/bin/sh
# Makes the placeholder prompts with a synthetic voice: run once by hand, the .opus files beside it are committed.
# Needs espeak-ng (voices cmn-latn-pinyin and en), sox, and ffmpeg with libopus.
set -eu
cd "$(dirname "$0")"

speak() { # name text: espeak-ng speaks, sox cuts the quiet at both ends and evens the loudness
    mkdir -p "$folder"
    espeak-ng -v "$voice" -s "$speed" --stdout "$2" |
        sox -V1 -t wav - -t wav - silence 1 0.01 0.3% reverse silence 1 0.01 0.3% reverse norm -6 rate 16k pad 0 0.06 |
        ffmpeg -v error -y -i - -ac 1 -c:a libopus -b:a 20k -application voip \
            -map_metadata -1 -fflags +bitexact -flags:a +bitexact "$folder/$1.opus"
}

# The voice called cmn of espeak-ng 1.51 reads the tones of Chinese text out as English numbers; this one speaks Mandarin.
folder=zh voice=cmn-latn-pinyin speed=165
speak welcome "这里是一一零视频报警台。"
speak please-wait "接警员正忙，请不要挂机。您的通话正在录音，我们能收到您的画面。"
speak you-are-number "您排在第"
speak in-the-queue "位。"
speak desk-lost "接警员的线路断了，您排在第一位，请不要挂机。"
speak goodbye "通话结束，再见。"
speak expected-wait "预计还要等"
speak minute "分钟。"
speak minutes "分钟。"
speak stay "我们没有忘记您。如果方便，请按任意键，告诉我们您还在。不按也不会断线。"
speak silent-caller "静默报警，请注意倾听。"
set -- 零 一 二 三 四 五 六 七 八 九
for n in 0 1 2 3 4 5 6 7 8 9; do speak $n "$1。"; shift; done
set -- 十 二十 三十 四十 五十 六十 七十 八十 九十
for n in 10 20 30 40 50 60 70 80 90; do speak $n "$1。"; shift; done
set -- 一百 二百 三百 四百 五百 六百 七百 八百 九百
for n in 100 200 300 400 500 600 700 800 900; do speak $n "$1。"; shift; done

folder=en voice=en speed=155
speak welcome "You have reached the 1 1 0 police video emergency line."
speak please-wait "All dispatchers are busy. Please stay on the line, you are being recorded and your picture is being received."
speak you-are-number "You are number"
speak in-the-queue "in the queue."
speak desk-lost "Your dispatcher was disconnected. You are first in the queue."
speak goodbye "The call is over. Goodbye."
speak expected-wait "The expected wait is about"
speak minute "minute."
speak minutes "minutes."
speak stay "You have not been forgotten. If you can, press any key to tell us that you are still there. You will not be cut off if you don't."
speak silent-caller "A silent call for help. Please listen."
for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 30 40 50 60 70 80 90; do speak $n "$n"; done
set -- one two three four five six seven eight nine
for n in 100 200 300 400 500 600 700 800 900; do speak $n "$1 hundred"; shift; done
