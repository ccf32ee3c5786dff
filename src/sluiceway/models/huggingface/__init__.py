"""Networks of Hugging Face's ``transformers``, made from a configuration or taken from a folder or the hub.

``params`` says what can be set; ``source`` finds pretrained weights; ``configuration`` makes a configuration agree
with the data; ``borrowed`` builds; ``tuning`` freezes and adds LoRA; ``images``, ``spectrograms`` and ``tokens`` let
networks take and give what a use case's own networks do.
"""
