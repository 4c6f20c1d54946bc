"""Write `published_size.md` and its figures from stored results of the large presets.

    python docs/published_size.py RESULTS

RESULTS is the folder that `python -m experiments run NAME --preset PRESET --out RESULTS` wrote to.
Verdicts, numbers and figures are those of the results; what is below is what no result knows: the
published size, the processor time, and what was seen in the data beside the claims. An experiment
without a result stays on the page, as one that was not run.
"""

import dataclasses
import io
import pathlib
import sys

import matplotlib as mpl
import matplotlib.style
from _generate import table_row
from PIL import Image

from experiments.lab import lecture, registry, store
from experiments.lab.claims import Claim
from experiments.lab.runner import STYLE

LARGEST = 120_000
"""Most bytes of a figure."""
FOLDER = pathlib.Path(__file__).parent
HEAD = """\
# At the size of real images

Some claims that papers make of large networks do not hold on the 1,797 digits that every experiment
takes by default. Is it the size? Here the same claims are judged, as they stand, on real images,
mostly Fashion-MNIST, as near to the published size as two processor cores go in about a quarter of
an hour. There are five seeds unless the numbers say otherwise; what is tuned, is tuned over as many
rates in every arm; sizes that were tried first were tried with another seed than those judged. All
ran on 2 cores (AVX-512, float32) on 29 November 2026, beside other programs, so the cost is
processor time. A claim that fails here stays failed; what was looked at to find out why stands
below its figure. "Not measured" is what a smaller size left out.

`python docs/published_size.py RESULTS` writes this page from stored results.
"""
COLUMNS = (
    "Experiment",
    "The lecture states",
    "Published size",
    "Here",
    "Holds",
    "Does not hold",
    "Not measured",
    "Processor minutes",
)


@dataclasses.dataclass(frozen=True)
class Section:
    """An experiment at one of its sizes.

    Attributes:
        name: Its name.
        published: The size in the paper.
        minutes: Processor time that it took, or why that is not known.
        seen: What was seen on digits, what at this size, and why what fails does.
        preset: The size.
    """

    name: str
    published: str
    minutes: str = "not run"
    seen: str = ""
    preset: str = "fashion"


SECTIONS = (
    Section(
        "activations",
        "Krizhevsky et al.: CIFAR-10, four convolutional layers",
        "6.3",
        """\
On digits tanh is faster than ReLU at every threshold, in 0.60 to 0.80 of its epochs; on clothes it
is as well, in 0.74 to 0.82, and in no seed slower. The grid of rates does not make it so at loss
0.4: there both are best at 0.01, inside it, and take 3 and 4 epochs in all seeds (which is as fine
as epochs tell). At 0.3 and 0.2 it may help: ReLU, leaky ReLU and GELU are then best at its smallest
rate, 0.003, tanh still at 0.01. ELU and SiLU are within half an epoch of tanh, so it is ReLU that
is slow among its like. The sigmoid needs more than twice ReLU's epochs in the mean at every
threshold (best at 0.1, inside the grid); asked of every seed, 2 of 5 stay just below twice at loss
0.2, where it takes 21 to 25 of the 25 epochs.""",
    ),
    Section(
        "initialization",
        "Glorot and Bengio: five layers of 1,000 on Shapeset, MNIST and CIFAR-10; He et al.: 30 "
        "convolutional layers on ImageNet",
        "4.2",
        """\
On digits 13 of 14 claims hold. One that fails here has its bound from digits: how well tanh signals
keep their size depends on where they start. From 64 pixels Xavier's weights make signals of 0.31,
where tanh is almost linear; from 784 they are 0.59 in the first layer, and tanh contracts them, to
0.46, 0.39, 0.35 and 0.31, and the gradients with them. The standard weights still lose far more, a
factor of ten.

The others are a finding. Xavier's 30 layers do not stall, they are late: with 3,120 steps for the
440 on digits, the same rate and the same second moment of 2^-l, the loss falls below 2.25 in epoch
8 to 13, in every seed, and is 1.0 ± 0.4 at the end and still falling, where Kaiming's is 0.20. The
test accuracy is then 60 against 83 %. LSUV, which does not converge on digits, here does so in
three seeds of five, the others end at 0.32 and 0.34; what told it from Kaiming on digits, that at
the last layer a class is no nearer than any two images, is true of four seeds (0.97 in the fifth).
At this depth other weights than Kaiming's cost steps, not the ability to train.""",
    ),
    Section(
        "random_labels",
        "Zhang et al.: CIFAR-10, perceptrons of one to three layers of 512",
        "24.9",
        """\
On digits every run ends without a training error, with random labels after 8.2 ± 2.3 times the
epochs. On 5,000 images of clothes true labels, shuffled pixels and noise are fitted in 51 to 68
epochs, but 120 are too few for random ones: one run of five with a fifth of the labels random gets
there, after 113, none with more. It is a matter of time: all the errors are still falling at the
end, when those of labels that are all random are 4 to 8 %, and the rate has fallen to 0.3 of its
first value. So the ratio is above 2 and otherwise not measured, and what the paper says of fitting,
in the end, is neither shown nor refuted. That errors on random labels are those of guessing holds,
and with random pixels the networks fit everything and still tell 17 % of the test images.""",
    ),
    Section(
        "pretraining",
        "Yosinski et al.: halves of the classes of ImageNet, eight layers",
        "not recorded (24 by the clock)",
        """\
On digits layers from other classes changed accuracy by -1.2 ± 1.9 points (n = 10), too wide an
interval to tell. With 30,000 images to pre-train on, and two layers of 256, it is narrow, and holds
no gain worth having: at most 0.6 points at 30 labels a class. Pre-training itself went well, and
there is room: the networks pre-trained on all labels of their five classes get 92.0 %, from scratch
with 3 labels a class 76.5 %, where other classes change it by -2.1 ± 3.2 points. So neither too
few images nor failed optimization is the reason. Nor is the grid of rates for other classes: at 30
labels 0.01 and 0.03 differ by less than 0.1 points. It may be for rotated images, which do better
with every larger rate up to the largest, 0.1 (85.7, 86.2, 86.9 %): part of their loss of 1.3 points
may be the grid's edge. What is left is that these are perceptrons: what they learn of five kinds of
clothes serves the other five no better than pixels do.""",
    ),
    Section(
        "marginal_value",
        "Wilson et al.: CIFAR-10, VGG, 250 epochs",
        "8.2",
        """\
The separable example and the digits with private features are those of the quick size, and hold.
The paper's order of Figure 1 does not show on digits: SGD errs by 5.3 %, Adam by 4.8 %, a
difference of 0.5 ± 1.3 points. Nor does it on clothes. The best adaptive method is 0.29 ± 0.37
points better than SGD, so neither is shown to be better, and all five lie within 0.63 points;
AdaGrad alone is worse than SGD, by 0.35 ± 0.21. The grid is not the reason: every method is best
inside it, and at the rates best on the test images Adam leads SGD by 0.57 ± 0.21 and heavy ball by
0.30 ± 0.22. What differs from the paper, beside data and network, is optimization: there all
methods fit the training images, here the rate, halved every third epoch, leaves SGD with 5.8 % of
them wrong, Adam with 3.5 %, AdaGrad with 7.8 %, and mostly those that train better test better.
After 1,500 steps a gap at equal training loss, which the paper is about, may not show yet.""",
    ),
    Section(
        "normalization",
        "Wu and He: ImageNet, ResNet-50, 100 epochs",
        "13.2",
        """\
On digits batch normalization's error does not rise from batch 32 to 2 (by 0.1 ± 1.1 points); on
clothes it does, by 4.0 ± 1.1, and that of the others falls a little. That it then errs more than
group normalization is not certain, by 1.1 ± 1.3 points, because it starts so much lower: at batch
32 group normalization is worse by 3.9 ± 1.2, which eight epochs and 8 channels in 4 groups may
explain, but was not tried. The rise itself is 5.0 ± 1.7 points larger than group normalization's,
and at batch 2 batch normalization is worse than instance normalization by
3.5 ± 1.0. The critics' test losses scatter by tens with 784 pixels, with and without weight
normalization, so that claim is neither shown nor refuted by 5 seeds.""",
    ),
    Section(
        "batch_norm",
        "Santurkar et al. and Frankle et al.: CIFAR-10, VGG, ResNet-14 to 866",
        "5.3",
        """\
What holds on digits of rates and smoothness holds on clothes, by more: without batch normalization
every run diverges from rate 0.3 on, with it all train at 3, the largest of the grid, so that the
ratio of 30 is at least that. With noise behind it, 4 of 5 networks train faster than without either
on digits, here none: the loss is 1.08 ± 0.05 times as high after five epochs. The noise does not
take the smoothness away (range and change along the gradient are those of batch normalization), so
what it costs is the noise itself, at the paper's ranges. The ResNet was left out for its time.""",
    ),
    Section(
        "clipping",
        "Pascanu et al.: the cliff of one unit, 50 steps",
        "3.7",
        """\
At the quick size 9 or 10 of 10 networks learn with clipping, as rounding has it; here 18 of 20 do,
and none without. The two that fail have learnt as well: in the last 100 steps, over which the mean
is taken, the median loss of every network is below 0.07, of these two as of the others, and in
some 100 steps before theirs has a mean of 0.057. They end within one of the spikes that a constant
rate goes on making, up to 5.1: what fails is the rate, and where the mean is taken.""",
        preset="paper",
    ),
)


def page(claims, titles, sections=SECTIONS):
    """Yield the lines of the page.

    Args:
        claims: The claims of each experiment that was run, by name.
        titles: The titles of their figures by name.
        sections: What is on the page.
    """
    yield from (HEAD, table_row(*COLUMNS), "|---" * len(COLUMNS) + "|")
    for part in sections:
        counts = [
            sum(claim.holds is verdict for claim in claims.get(part.name, []))
            for verdict in (True, False, None)
        ]
        stated = " ".join(s.text for s in lecture.STATEMENTS if s.experiment == part.name)
        here = registry.find(part.name).sizes[part.preset].removesuffix(".")
        shown = [*counts, part.minutes] if part.name in claims else ["", "", "", "not run"]
        yield table_row(f"[](#published-{part.name})", stated, part.published, here, *shown)
    for part in sections:
        yield from ("", f"(published-{part.name})=", f"## `{part.name}`", "")
        command = f"{registry.command()} run {part.name} --preset {part.preset}"
        yield from ("```sh", command, "```", "")
        if part.name not in claims:
            yield "Not run."
            continue
        yield from ("| Verdict | Claim | Expected | Measured |", "|---|---|---|---|")
        yield from map(_claim, claims[part.name])
        picture = f"![{titles[part.name]}](figures/published_{part.name}.png)"
        yield from ("", picture, "", part.seen.strip())


def _claim(claim: Claim) -> str:
    verdict = claim.verdict if claim.holds else f"**{claim.verdict}**"
    return table_row(verdict, claim.statement, claim.expected, claim.measured)


def picture(figure) -> bytes:
    """Return a figure as PNG of 256 colours, as sharp as fits."""
    for dpi in range(110, 50, -10):
        buffer, drawn = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi)
        few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        few.save(buffer, format="png", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def main(folder: pathlib.Path) -> None:
    """Judge and draw the stored data by the code as it is; write page and figures."""
    mpl.use("Agg")
    matplotlib.style.use(STYLE)
    claims, titles = {}, {}
    for part in SECTIONS:
        result = store.read(folder / part.name / part.preset)
        if result:
            module, dataset = registry.find(part.name).load(), result.dataset()
            figure = module.plot(dataset)
            claims[part.name], titles[part.name] = module.claims(dataset), figure.get_suptitle()
            path = FOLDER / "figures" / f"published_{part.name}.png"
            path.write_bytes(picture(figure))
    lines = "\n".join(page(claims, titles))
    (FOLDER / "published_size.md").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
