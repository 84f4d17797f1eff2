"""Every value a recipe can hold, with its type, its range, its default and its meaning.

Only the composition roots see a whole ``Recipe``; every other part gets its own section or plain
values. Defaults were chosen by measurement where docs/results.md says so, else by custom.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

# Upper bounds are far beyond use: they keep a slip of the finger, or a stranger's recipe, from
# asking for more memory or time than any machine has.
Positive = Annotated[int, Field(ge=1, le=10**15)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Images = Annotated[int, Field(ge=1, le=10**7)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Width = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Half = Annotated[float, Field(ge=0.0, le=0.5)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], Strict(False)]
Numbers = Annotated[tuple[NonNegative, ...], Strict(False)]


class Section(BaseModel):
    """Frozen, strict and closed: wrong types and unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class Run(Section):
    """Where a run lives and what it writes beside its checkpoints."""

    dir: Text | None = None
    """Run folder; default runs/<recipe name>."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of everything random: weights, order, noise, augmentation."""
    keep_last: Positive = 3
    """Complete checkpoints to keep; older ones are deleted after a new one is verified."""
    trackers: Names = ("tensorboard",)
    """Accelerate trackers to log to, besides log.jsonl which is always written; [] for none."""
    patience: Positive = 1
    """Non-finite steps in the whole run after which it stops."""


class Data(Section):
    """Which shards are read, and in which order."""

    root: Text = "shards/data"
    """Shard folder (holds manifest.json): a path, or a URL (http, https, s3, gs, hf)."""
    make: Text | None = None
    """The command that makes the shards; shown when they are missing."""
    split: Text = "train"
    """Split to train on."""
    domains: Names | None = None
    """Domain names the manifest must have, in any order; default: the manifest's."""
    image_size: Annotated[int, Field(ge=32, le=256)] | None = None
    """Pixels, square, that the manifest must have; default: the manifest's."""
    balance: Literal["domain", "natural"] = "domain"
    """domain: every domain is drawn equally; natural: each sample once an epoch."""
    lanes: Images | None = None
    """Endless streams a batch is taken from; default gcd(share of the batch, 64)."""
    window: Images = 1024
    """Samples of a lane that are permuted together."""
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Loader processes per rank; default: cores per rank, less one, at most 8."""
    flip: bool = True
    """Mirror half of the images, chosen by hash."""
    crop: Half = 0.0
    """Largest part of height and width cut off at a random place; what is left is enlarged."""
    stretch: bool = False
    """With crop: cut height and width each for itself, so that proportions tell nothing."""
    light: Half = 0.0
    """Largest change of contrast (a factor 1 +- light) and brightness (+- light / 2 of white)."""
    on_bad: Literal["error", "substitute"] = "error"
    """A sample that cannot be read: stop, or let another of its domain take its place."""
    bad_budget: Count = 100
    """Samples that may be substituted in a whole run; more stop it."""
    cache_dir: Text | None = None
    """Where blocks of remote shards are kept; default: the system's temporary folder."""
    cache_gb: PositiveFloat = 8.0
    """Bound of that folder, in 10^9 bytes, shared by all ranks of a machine."""


class Model(Section):
    """Layers and widths of the auto-encoder and the discriminators."""

    code_size: Annotated[int, Field(ge=2, le=32)] = 4
    """a = b: height and width of the code maps; the image size is this times a power of two."""
    content_channels: Channels = 64
    """k: channels of the content code."""
    domain_channels: Channels = 16
    """j: numbers of the domain code."""
    width: Width = 32
    """Channels at full resolution; doubled at each halving."""
    max_width: Width = 128
    """Upper bound of the channels."""
    blocks: Annotated[int, Field(ge=1, le=16)] = 1
    """Residual blocks per resolution."""
    discriminator_width: Width = 128
    """Channels of q_c and hidden units of q_d."""
    dense_discriminators: Annotated[int, Field(ge=0, le=16)] = 0
    """Perceptrons on whole content codes that look for the domain beside q_c's convolutions."""
    critic_width: Width = 32
    """Channels of the image critic at full resolution; doubled twice."""
    content_levels: Annotated[int, Field(ge=0, le=256)] = 0
    """mu_c takes one of so many values from -1 to 1 (2 or more); 0: any, unbounded (paper)."""
    domain_sees: Literal["trunk", "perceptual", "tuned"] = "trunk"
    """What z_d is read from: the trunk's features (paper), or VGG-16's at relu3_3, frozen or tuned
    with the rest."""
    decoder: Literal["concat", "modulate"] = "concat"
    """z_d joins z_c as channels (paper); modulate: it scales and shifts features, too."""

    @model_validator(mode="after")
    def _widths(self) -> Model:
        if self.max_width < self.width:
            raise ValueError(
                f"model.max_width = {self.max_width} is below model.width = {self.width}"
            )
        if self.content_levels == 1:
            raise ValueError("model.content_levels is 0 (off), or at least 2")
        return self

    def fits(self, image_size: int) -> bool:
        """Tell whether halving an image once or more often arrives at the code maps."""
        ratio, rest = divmod(image_size, self.code_size)
        return ratio > 1 and rest == 0 and ratio & (ratio - 1) == 0


class Objective(Section):
    """The paper's two variants, and the weight of each term."""

    discriminators: Annotated[int, Field(ge=1, le=2)] = 1
    """1: q_c alone (paper, Fig. 1a); 2: q_c and q_d (Fig. 1b)."""
    route: Literal["stream", "encoder"] = "stream"
    """Who learns from confusion and domain terms: the stream alone (paper), or the trunk too."""
    confusion: Literal["entropy", "uniform"] = "entropy"
    """entropy: maximise q_c's entropy (paper); uniform: cross-entropy to uniform (Tzeng 2015)."""
    reconstruction_weight: PositiveFloat = 1.0
    """Weight of the perceptual loss L_r."""
    pixel_weight: NonNegative = 1.0
    """Weight of the mean absolute pixel error added to L_r; 0 is the paper."""
    confusion_weight: NonNegative = 0.1
    """Weight of L_c."""
    confusion_warmup: Count = 0
    """Steps over which the confusion and domain weights grow from 0."""
    domain_weight: NonNegative = 0.1
    """Weight of L_d (two discriminators)."""
    q_sees: Literal["samples", "means", "both"] = "samples"
    """What q_c judges and learns from: samples of z_c (paper), mu_c, or both."""
    q_memory: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Past content codes that q_c's perceptrons learn from again at each step; 0 is the paper."""
    alignment_weight: NonNegative = 0.0
    """Weight of the energy distance between the domains' content codes; 0 is the paper."""
    critic_weight: NonNegative = 0.0
    """Weight of an image critic's opinion of translations; 0 is the paper, and has no critic."""
    critic_teaches: Literal["decoder", "everyone"] = "decoder"
    """Who learns from it: the decoder alone, or trunk and streams too."""
    critic_warmup: Count = 0
    """Steps over which its weight grows from 0."""
    content_cycle_weight: NonNegative = 0.0
    """With a critic: weight of what a translation, encoded again, has lost of z_c; else all that
    it translates into a domain may become one picture."""
    likeness_weight: NonNegative = 0.0
    """With a critic: weight of what a translation has lost, in the loss network's features, of
    where things are in its source; nor may all become one picture then."""
    critic_slope_weight: NonNegative = 1.0
    """Weight of half the critic's squared slope at real images (R1), which keeps it calm."""
    domain_code: Literal["own", "pooled"] = "own"
    """Decoded with in training: the image's own z_d (paper), or the mean of its domain's others."""
    own_numbers: Annotated[int, Field(ge=0)] = 0
    """With pooled: so many of z_d's numbers stay the image's own, its colours say."""
    decoded_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of each micro-batch that is decoded; q_c and the encoder see the others' codes, too."""
    content_prior: NonNegative = 0.0
    """Weight of KL(z_c || N(0, 1)) per number; 0 is the paper."""
    domain_prior: NonNegative = 0.0
    """Weight of KL(z_d || N(0, 1)) per number; 0 is the paper."""


class Perceptual(Section):
    """The loss network P."""

    weights: Text = "torchvision"
    """A safetensors path, "torchvision" (downloads, checks the digest), or "random"."""
    layers: Names = ("relu1_2", "relu2_2", "relu3_3")
    """VGG-16 layers compared."""
    layer_weights: Numbers | None = None
    """A weight per layer; default 1 each."""

    @model_validator(mode="after")
    def _lengths(self) -> Perceptual:
        if not self.layers:
            raise ValueError("perceptual.layers must name at least one VGG-16 layer")
        if self.layer_weights is not None and len(self.layer_weights) != len(self.layers):
            raise ValueError(
                f"perceptual.layer_weights has {len(self.layer_weights)} numbers for the "
                f"{len(self.layers)} layers of perceptual.layers"
            )
        return self


class Train(Section):
    """How long, how fast, how often."""

    steps: Positive = 10_000
    """Optimizer steps of the whole run."""
    global_batch: Images = 64
    """Images per step over all ranks and accumulation."""
    micro_batch: Images | None = None
    """Images per forward pass and rank; default: the largest fitting divisor."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """auto: bf16 where the hardware has it, else fp32."""
    lr: PositiveFloat = 4e-4
    """Adam's learning rate of the auto-encoder."""
    discriminator_lr: PositiveFloat = 2e-4
    """Adam's learning rate of q_c and q_d."""
    critic_lr: PositiveFloat = 2e-4
    """Adam's learning rate of the image critic; the same schedule as the auto-encoder's."""
    tuned_lr: PositiveFloat = 1e-4
    """Adam's learning rate of VGG-16 where domain_sees = "tuned"; the same schedule as lr."""
    betas: Annotated[tuple[Decay, Decay], Strict(False)] = (0.9, 0.99)
    """Adam's betas of the auto-encoder."""
    discriminator_betas: Annotated[tuple[Decay, Decay], Strict(False)] = (0.5, 0.99)
    """Adam's betas of q_c, q_d and the image critic."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay (AdamW)."""
    clip: PositiveFloat = 1.0
    """Largest gradient norm, per player."""
    warmup: Count = 100
    """Steps of linear warm-up."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate after the warm-up."""
    discriminator_schedule: Literal["same", "constant"] = "same"
    """Rate of q_c and q_d: as the auto-encoder's, or constant, to be ahead of it."""
    ema: Decay = 0.999
    """Decay of the weights' moving average; shortened to (1 + step) / (10 + step) early on."""
    log_every: Positive = 20
    """Steps between log lines."""
    save_every: Positive = 1000
    """Steps between checkpoints."""
    sample_every: Positive = 1000
    """Steps between sample grids."""
    mean_code_images: Images = 256
    """Training images per domain behind a domain's mean code."""


class Engine(Section):
    """How the machine is used; never changes what is computed beyond rounding."""

    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of the objective; auto: on for GPUs, off on CPU."""
    channels_last: bool = True
    """Keep convolutions in N H W C memory."""
    checkpoint_activations: bool = False
    """Recompute decoder and trunk activations in the backward pass to save memory."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """CPU threads per rank; default: its share of the cores or one, whichever is faster."""
    timeout: Annotated[int, Field(ge=1, le=1_000_000)] = 1800
    """Seconds after which the ranks give up one that does not answer; longer than any pause
    between two steps (saving, drawing, compiling)."""
    deterministic: bool = False
    """Insist on deterministic kernels."""


class Recipe(Section):
    """A whole recipe."""

    name: Text
    """The recipe file's stem."""
    run: Run = Run()
    data: Data = Data()
    model: Model = Model()
    objective: Objective = Objective()
    perceptual: Perceptual = Perceptual()
    train: Train = Train()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _cross_rules(self) -> Recipe:
        train, data = self.train, self.data
        if self.objective.q_memory and not self.model.dense_discriminators:
            raise ValueError(
                f"objective.q_memory = {self.objective.q_memory} is for perceptrons to learn from, "
                "and model.dense_discriminators = 0 has none"
            )
        for key in ("content_cycle_weight", "likeness_weight"):
            weight = getattr(self.objective, key)
            if weight and not self.objective.critic_weight:
                raise ValueError(
                    f"objective.{key} = {weight} is about the translations that a critic sees, "
                    "and objective.critic_weight = 0 has none"
                )
        own, most = self.objective.own_numbers, self.model.domain_channels - 1
        if own and self.objective.domain_code != "pooled":
            raise ValueError(
                f"objective.own_numbers = {own} is for pooled domain codes, and "
                'objective.domain_code = "own" pools none'
            )
        if own > most:
            raise ValueError(
                f"objective.own_numbers = {own} leaves nothing to pool of "
                f"model.domain_channels = {self.model.domain_channels}; it is at most {most}"
            )
        if train.micro_batch is not None and train.global_batch % train.micro_batch:
            raise ValueError(
                f"train.global_batch = {train.global_batch} is not a multiple of "
                f"train.micro_batch = {train.micro_batch}"
            )
        if data.lanes is not None and train.global_batch % data.lanes:
            raise ValueError(
                f"train.global_batch = {train.global_batch} is not a multiple of "
                f"data.lanes = {data.lanes}"
            )
        if data.stretch and not data.crop:
            raise ValueError(
                "data.stretch = true is about what is left of a crop, and data.crop = 0 cuts "
                "nothing off"
            )
        if data.domains is not None and len(data.domains) < 2:
            raise ValueError("data.domains needs at least two domains")
        if data.image_size is not None and not self.model.fits(data.image_size):
            raise ValueError(
                f"data.image_size = {data.image_size} is not "
                f"model.code_size = {self.model.code_size} times a power of two"
            )
        return self

    @property
    def run_dir(self) -> str:
        """The run folder."""
        return self.run.dir if self.run.dir is not None else f"runs/{self.name}"
