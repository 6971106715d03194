#!/usr/bin/env python3
"""Writes a language model of two megabytes whose every weight is set by hand: make_model.py FILE [--think]

To a model server it is an ordinary llama model: tokenizer, chat template, attention, cache, sampling,
grammars. Inside, attention and feed-forward add nothing and every token is its own direction, so the last
matrix alone decides which token follows which. Whatever is asked, it says SENTENCE and stops, at every
temperature; a question with the words ENDLESS_WORDS it answers without an end, so that only a cancel or a
token limit stops it. Where a grammar wants JSON it writes the shortest there is, with WORD for texts. With
--think it thinks THOUGHT aloud before it says anything, between tags, as reasoning models do.
The Python that runs it needs gguf and numpy, as the one of `tests/clients/run.py --install` does.
"""

import argparse
import math

import gguf
import numpy

SENTENCE = "The house answers from its own machine , and no word of it leaves the house ."
ENDLESS = "and on it goes , and then again"
ENDLESS_WORDS = "without end"
THOUGHT = "First it looks at what was asked , then it picks a short way to say it ."
WORD = "yes"

CONTEXT_TOKENS = 32768
HEAD_SIZE = 64
FEED_FORWARD_SIZE = 64
# The gap between the token that follows and all others; no sampling temperature bridges it.
CERTAIN, NEVER = 0.0, -60.0
# What a grammar leaves of the tokens that do not follow: it should close what is open, and never pad.
LESS_OR_MORE_UNLIKELY = {'"': -40.0, "}": -45.0, "]": -45.0, ",": -50.0, **dict.fromkeys("0123456789", -55.0),
                         **dict.fromkeys(" \t\r\n", -80.0)}

UNKNOWN, START, TURN, TURN_END, ENDLESS_START = "<unk>", "<s>", "<|turn|>", "<|turn_end|>", "<|endless|>"
THINK, THINK_END = "<think>", "</think>"
TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|turn_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n"
    "{% if '" + ENDLESS_WORDS + "' in messages[-1]['content'] %}<|endless|>{% endif %}{% endif %}"
)


def pieces(sentence):
    """The sentence in pairs of words as the tokenizer spells them."""
    words = sentence.split()
    return ["\u2581" + "\u2581".join(words[at:at + 2]) for at in range(0, len(words), 2)]


def byte_token(letter):
    return f"<0x{ord(letter):02X}>"


class Vocabulary:
    """Tokens and their kinds, numbered in the order in which they came."""

    def __init__(self):
        self.texts, self.kinds = [], []

    def add(self, texts, kind):
        """The numbers of these new tokens; what follows a token must be clear, so none may come twice."""
        if len({*self.texts, *texts}) != len(self.texts) + len(texts):
            raise ValueError(f"a token comes twice in: {texts}")
        numbers = range(len(self.texts), len(self.texts) + len(texts))
        self.texts += texts
        self.kinds += [int(kind)] * len(texts)
        return list(numbers)


def build(thinks):
    """The vocabulary and, for each token, the one that follows it."""
    vocabulary = Vocabulary()
    kind = gguf.TokenType
    vocabulary.add([UNKNOWN], kind.UNKNOWN)
    _, _, end, endless_start = vocabulary.add([START, TURN, TURN_END, ENDLESS_START], kind.CONTROL)
    # Every text can be spelled in bytes, so no question is outside the vocabulary.
    vocabulary.add([f"<0x{byte:02X}>" for byte in range(256)], kind.BYTE)
    sentence = vocabulary.add(pieces(SENTENCE), kind.NORMAL)
    endless = vocabulary.add(pieces(ENDLESS), kind.NORMAL)
    thought = vocabulary.add(pieces(THOUGHT), kind.NORMAL)
    word, = vocabulary.add([WORD], kind.NORMAL)
    think, think_end = vocabulary.add([THINK, THINK_END], kind.USER_DEFINED)

    following = {token: sentence[0] for token in range(len(vocabulary.texts))}
    following.update(zip(sentence, [*sentence[1:], end]))
    following.update(zip([endless_start, *endless], [*endless, endless[0]]))
    following.update(zip([think, *thought], [*thought, think_end]))
    quote = vocabulary.texts.index(byte_token('"'))
    following.update({quote: word, word: quote})
    if thinks:
        # The template ends with a line break before the answer.
        following[vocabulary.texts.index(byte_token("\n"))] = think
    return vocabulary, following


def tensors(texts, width, following):
    """All weights by name; `width` is the number of tokens rounded up to whole heads."""
    size = len(texts)

    def zeros(*shape):
        return numpy.zeros(shape, numpy.float32)

    ones = numpy.ones(width, numpy.float32)
    embedding = zeros(size, width)
    embedding[numpy.arange(size), numpy.arange(size)] = 1.0
    # The norm before the last matrix stretches a unit vector to the root of its width.
    output = numpy.full((size, width), NEVER / math.sqrt(width), numpy.float32)
    for letter, level in LESS_OR_MORE_UNLIKELY.items():
        output[texts.index(byte_token(letter))] = level / math.sqrt(width)
    for token, after in following.items():
        output[after, token] = CERTAIN
    return {
        "token_embd": embedding, "output_norm": ones, "output": output,
        "blk.0.attn_norm": ones, "blk.0.attn_q": zeros(width, width), "blk.0.attn_k": zeros(HEAD_SIZE, width),
        "blk.0.attn_v": zeros(HEAD_SIZE, width), "blk.0.attn_output": zeros(width, width),
        "blk.0.ffn_norm": ones, "blk.0.ffn_gate": zeros(FEED_FORWARD_SIZE, width),
        "blk.0.ffn_up": zeros(FEED_FORWARD_SIZE, width), "blk.0.ffn_down": zeros(width, FEED_FORWARD_SIZE),
    }


def write(path, name, thinks):
    vocabulary, following = build(thinks)
    size = len(vocabulary.texts)
    width = math.ceil(size / HEAD_SIZE) * HEAD_SIZE
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD_SIZE)
    writer.add_head_count(width // HEAD_SIZE)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary.texts)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types(vocabulary.kinds)
    writer.add_unk_token_id(vocabulary.texts.index(UNKNOWN))
    writer.add_bos_token_id(vocabulary.texts.index(START))
    writer.add_eos_token_id(vocabulary.texts.index(TURN_END))
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, weights in tensors(vocabulary.texts, width, following).items():
        writer.add_tensor(f"{name}.weight", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--think", action="store_true", help="a model that thinks before it answers")
    options = parser.parse_args()
    write(options.file, "house-thinker" if options.think else "house-model", options.think)


if __name__ == "__main__":
    main()
