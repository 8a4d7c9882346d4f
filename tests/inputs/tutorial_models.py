"""Models as tutorials and the tests of other libraries have them, for guessing their inputs.

Each is written as its source writes it: which sizes it takes is known to its author alone. The
guesses were made with every second one in sight (``SEEN``), and measured on the others
(``UNSEEN``).
"""

import math

import torch
from torch import nn
from torch.nn import functional

F = functional


# --- pictures ------------------------------------------------------------------------------


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class MnistExample(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = self.fc1(torch.flatten(self.dropout1(x), 1))
        return F.log_softmax(self.fc2(F.relu(x)), dim=1)


class CifarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        return self.fc2(F.relu(self.fc1(x)))


class OldMnist(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        return self.fc2(F.dropout(F.relu(self.fc1(x)), training=self.training))


class AlexNetLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 48, 11, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(48, 96, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(64 * 6 * 6, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), 64 * 6 * 6))


class FashionMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 512), nn.ReLU(), nn.Linear(512, 10)
        )

    def forward(self, x):
        return self.linear_relu_stack(self.flatten(x))


class MnistFlat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        b, c, h, w = x.shape
        return self.fc2(F.relu(self.fc1(x.reshape(b, c * h * w))))


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def forward(self, x):
        h = F.relu(self.fc1(x.view(-1, 784)))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


class ConvVae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 128, 4, 2), nn.ReLU(), nn.Conv2d(128, 256, 4, 2), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.fc1 = nn.Linear(1024, 32)
        self.fc3 = nn.Linear(32, 1024)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(1024, 128, 5, 2), nn.ReLU(), nn.ConvTranspose2d(128, 64, 5, 2),
            nn.ReLU(), nn.ConvTranspose2d(64, 3, 6, 2),
        )  # fmt: skip

    def forward(self, x):
        z = self.fc3(self.fc1(self.encoder(x)))
        return self.decoder(z.view(z.size(0), 1024, 1, 1))


class DcganGenerator(nn.Module):
    def __init__(self, nz=100, ngf=16):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 8),
            nn.ReLU(True), nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 4), nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, 3, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, input):  # noqa: A002
        return self.main(input)


class DcganDiscriminator(nn.Module):
    def __init__(self, ndf=16):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, ndf, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(ndf, ndf * 2, 4, 2, 1),
            nn.BatchNorm2d(ndf * 2), nn.LeakyReLU(0.2), nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(ndf * 8, 1, 4, 1, 0), nn.Flatten(), nn.Linear(1, 1),
        )  # fmt: skip

    def forward(self, input):  # noqa: A002
        return self.main(input).view(-1)


class ConditionalGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.label_emb = nn.Embedding(10, 10)
        self.model = nn.Sequential(
            nn.Linear(100 + 10, 128), nn.LeakyReLU(0.2), nn.Linear(128, 784), nn.Tanh()
        )

    def forward(self, noise, labels):
        gen_input = torch.cat((self.label_emb(labels), noise), -1)
        return self.model(gen_input).view(-1, 1, 28, 28)


class SuperResolution(nn.Module):
    def __init__(self, upscale_factor=3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(64, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)

    def forward(self, x):
        return self.pixel_shuffle(self.conv2(F.relu(self.conv1(x))))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        return self.out(torch.cat([a, self.up(b)], dim=1))


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4),
            nn.ReflectionPad2d(1), nn.Conv2d(4, 8, 3), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Sequential(nn.Linear(8 * 100 * 100, 20), nn.ReLU(), nn.Linear(20, 5))

    def forward_once(self, x):
        out = self.cnn(x)
        return self.fc(out.view(out.size()[0], -1))

    def forward(self, input1, input2):
        return self.forward_once(input1), self.forward_once(input2)


class SpatialTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.fc1 = nn.Linear(320, 10)
        self.localization = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=7), nn.MaxPool2d(2, stride=2), nn.ReLU(True),
            nn.Conv2d(8, 10, kernel_size=5), nn.MaxPool2d(2, stride=2), nn.ReLU(True),
        )  # fmt: skip
        self.fc_loc = nn.Sequential(nn.Linear(10 * 3 * 3, 32), nn.ReLU(True), nn.Linear(32, 6))

    def forward(self, x):
        theta = self.fc_loc(self.localization(x).view(-1, 10 * 3 * 3)).view(-1, 2, 3)
        x = F.grid_sample(x, F.affine_grid(theta, x.size(), align_corners=False))
        x = F.max_pool2d(self.conv2(F.max_pool2d(self.conv1(x), 2)), 2)
        return self.fc1(x.view(-1, 320))


class Dqn(nn.Module):
    def __init__(self, outputs=6):
        super().__init__()
        self.conv1 = nn.Conv2d(4, 32, 8, stride=4)
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)
        self.conv3 = nn.Conv2d(64, 64, 3, stride=1)
        self.fc4 = nn.Linear(7 * 7 * 64, 512)
        self.head = nn.Linear(512, outputs)

    def forward(self, x):
        x = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x / 255.0))))))
        return self.head(F.relu(self.fc4(x.reshape(x.size(0), -1))))


class CartPole(nn.Module):
    def __init__(self, n_observations=4, n_actions=2):
        super().__init__()
        self.layer1 = nn.Linear(n_observations, 128)
        self.layer3 = nn.Linear(128, n_actions)

    def forward(self, x):
        return self.layer3(F.relu(self.layer1(x)))


class Critic(nn.Module):
    def __init__(self, state_dim=17, action_dim=6):
        super().__init__()
        self.l1 = nn.Linear(state_dim + action_dim, 64)
        self.l2 = nn.Linear(64, 1)

    def forward(self, state, action):
        return self.l2(F.relu(self.l1(torch.cat([state, action], 1))))


class TwoBranchCritic(nn.Module):
    def __init__(self, state_dim=12, action_dim=3):
        super().__init__()
        self.fcs1 = nn.Linear(state_dim, 64)
        self.fca1 = nn.Linear(action_dim, 32)
        self.fc3 = nn.Linear(96, 1)

    def forward(self, state, action):
        hidden = torch.cat([F.relu(self.fcs1(state)), F.relu(self.fca1(action))], dim=1)
        return self.fc3(hidden)


class ImageAndText(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 10, batch_first=True)
        self.head = nn.Linear(18, 3)

    def forward(self, image, question):
        _, (h, _) = self.lstm(self.embedding(question))
        return self.head(torch.cat([self.image(image), h[-1]], dim=1))


class ImageAndTable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.table = nn.Linear(7, 5)
        self.head = nn.Linear(13, 3)

    def forward(self, image, table):
        pooled = self.conv(image).mean(dim=(2, 3))
        return self.head(torch.cat([pooled, self.table(table)], dim=1))


class PatchVit(nn.Module):
    def __init__(self, size=32, patch=4, dim=48):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(dim, 10)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.encoder(x)[:, 0])


class MlpMixerLike(nn.Module):
    def __init__(self, size=64, patch=8, dim=32):
        super().__init__()
        tokens = (size // patch) ** 2
        self.stem = nn.Conv2d(3, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)
        self.tokens = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.channels = nn.Linear(dim, dim)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return self.channels(x).mean(1)


class SqueezeExcite(nn.Module):
    def __init__(self, channels=64, reduction=16):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction), nn.ReLU(),
            nn.Linear(channels // reduction, channels), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.fc(self.avg_pool(x).view(b, c)).view(b, c, 1, 1)
        return x * y.expand_as(x)


class PreNormBlock(nn.Module):
    def __init__(self, channels=24):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv(F.relu(self.bn(x)))


class StyleTransfer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.ReflectionPad2d(4), nn.Conv2d(3, 8, 9))
        self.in1 = nn.InstanceNorm2d(8, affine=True)
        self.deconv = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.ReflectionPad2d(4), nn.Conv2d(8, 3, 9)
        )

    def forward(self, x):
        return self.deconv(F.relu(self.in1(self.conv1(x))))


class NoChannel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 26 * 26, 10)

    def forward(self, x):
        x = self.conv(x.unsqueeze(1))
        return self.fc(x.flatten(1))


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 8, 4)
        self.fc = nn.Linear(16, 4)

    def forward(self, observations):
        x = self.conv(observations.permute(0, 3, 1, 2))
        return self.fc(x.mean((2, 3)))


class ConvNet3d(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv3d(1, 8, 3, padding=1)
        self.pool = nn.MaxPool3d(2)
        self.conv2 = nn.Conv3d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 8 * 8 * 8, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv2(self.pool(F.relu(self.conv1(x))))))
        return self.fc(x.view(x.size(0), -1))


class VideoTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.fc = nn.Linear(16, 5)

    def forward(self, clip):
        b, t, c, h, w = clip.shape
        x = self.cnn(clip.view(b * t, c, h, w)).view(b, t, -1)
        return self.fc(self.lstm(x)[0][:, -1])


# --- sound and points ----------------------------------------------------------------------


class M5(nn.Module):
    def __init__(self, n_input=1, stride=16, n_output=35, n_channel=32):
        super().__init__()
        self.conv1 = nn.Conv1d(n_input, n_channel, kernel_size=80, stride=stride)
        self.bn1 = nn.BatchNorm1d(n_channel)
        self.pool1 = nn.MaxPool1d(4)
        self.conv2 = nn.Conv1d(n_channel, n_channel, kernel_size=3)
        self.pool2 = nn.MaxPool1d(4)
        self.conv3 = nn.Conv1d(n_channel, 2 * n_channel, kernel_size=3)
        self.pool3 = nn.MaxPool1d(4)
        self.fc1 = nn.Linear(2 * n_channel, n_output)

    def forward(self, x):
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        x = self.pool3(F.relu(self.conv3(self.pool2(F.relu(self.conv2(x))))))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.fc1(x), dim=2)


class EcgNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(12, 16, 7, stride=2, padding=3)
        self.pool = nn.MaxPool1d(2)
        self.fc = nn.Linear(16 * 250, 5)

    def forward(self, x):
        return self.fc(self.pool(F.relu(self.conv(x))).flatten(1))


class Spectrogram(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.gru = nn.GRU(8 * 64, 32, batch_first=True)
        self.fc = nn.Linear(32, 10)

    def forward(self, spectrogram):
        x = F.max_pool2d(F.relu(self.conv(spectrogram)), (2, 1))  # 128 mel bins
        x = x.permute(0, 3, 1, 2).flatten(2)
        return self.fc(self.gru(x)[0][:, -1])


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(3, 64, 1)
        self.conv2 = nn.Conv1d(64, 128, 1)
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc(torch.max(x, 2)[0])


class PointsFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU())
        self.fc = nn.Linear(32, 10)

    def forward(self, points):
        x = self.mlp(points.transpose(1, 2))
        return self.fc(x.max(dim=2).values)


class Nerf(nn.Module):
    def __init__(self, frequencies=4):
        super().__init__()
        self.frequencies = frequencies
        self.layers = nn.Sequential(
            nn.Linear(3 + 3 * 2 * frequencies, 64), nn.ReLU(), nn.Linear(64, 4)
        )

    def forward(self, points):
        scaled = [points * 2**i for i in range(self.frequencies)]
        encoded = [points, *(f(s) for s in scaled for f in (torch.sin, torch.cos))]
        return self.layers(torch.cat(encoded, dim=-1))


class GraphConvolution(nn.Module):
    def __init__(self, features=16, hidden=8, classes=3):
        super().__init__()
        self.weight1 = nn.Parameter(torch.randn(features, hidden))
        self.weight2 = nn.Parameter(torch.randn(hidden, classes))

    def forward(self, x, adj):
        h = F.relu(adj @ (x @ self.weight1))
        return F.log_softmax(adj @ (h @ self.weight2), dim=1)


class MessagePassing(nn.Module):
    def __init__(self, features=10, hidden=6):
        super().__init__()
        self.lin = nn.Linear(features, hidden)

    def forward(self, x, edge_index):
        row, col = edge_index
        h = self.lin(x)
        return torch.zeros_like(h).index_add(0, col, h[row])


# --- text and series -----------------------------------------------------------------------


class LstmTagger(nn.Module):
    def __init__(self, embedding_dim=6, hidden_dim=6, vocab_size=9, tagset_size=3):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        return F.log_softmax(self.hidden2tag(out.view(len(sentence), -1)), dim=1)


class CharRnn(nn.Module):
    def __init__(self, input_size=57, hidden_size=128, output_size=18):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)

    def forward(self, input, hidden):  # noqa: A002
        combined = torch.cat((input, hidden), 1)
        return F.log_softmax(self.i2o(combined), dim=1), self.i2h(combined)

    def initHidden(self):  # noqa: N802
        return torch.zeros(1, self.hidden_size)


class CharRnn2(nn.Module):
    def __init__(self, input_size=57, hidden_size=128, output_size=18):
        super().__init__()
        self.rnn = nn.RNN(input_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, line_tensor):
        _, hidden = self.rnn(line_tensor)
        return F.log_softmax(self.h2o(hidden[0]), dim=1)


class TextBag(nn.Module):
    def __init__(self, vocab_size=100, embed_dim=16, num_class=4):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim, sparse=False)
        self.fc = nn.Linear(embed_dim, num_class)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


class Ngram(nn.Module):
    def __init__(self, vocab_size=97, embedding_dim=10, context_size=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.linear1 = nn.Linear(context_size * embedding_dim, 128)
        self.linear2 = nn.Linear(128, vocab_size)

    def forward(self, inputs):
        embeds = self.embeddings(inputs).view((1, -1))
        return F.log_softmax(self.linear2(F.relu(self.linear1(embeds))), dim=1)


class TextCnn(nn.Module):
    def __init__(self, vocab=60, dim=20):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.convs = nn.ModuleList(nn.Conv2d(1, 8, (k, dim)) for k in (3, 4, 5))
        self.fc = nn.Linear(24, 2)

    def forward(self, text):
        embedded = self.embedding(text).unsqueeze(1)
        convolved = [F.relu(conv(embedded)).squeeze(3) for conv in self.convs]
        pooled = [F.max_pool1d(c, c.shape[2]).squeeze(2) for c in convolved]
        return self.fc(torch.cat(pooled, dim=1))


class PackedLstm(nn.Module):
    def __init__(self, vocab=40, dim=16, hidden=12):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim, padding_idx=0)
        self.rnn = nn.LSTM(dim, hidden, bidirectional=True)
        self.fc = nn.Linear(hidden * 2, 1)

    def forward(self, text, text_lengths):
        embedded = self.embedding(text)
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, text_lengths.to("cpu"), enforce_sorted=False
        )
        _, (hidden, _) = self.rnn(packed)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1))


class PackedBatchFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(20, 12, batch_first=True)
        self.out = nn.Linear(12, 4)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        out, _ = self.gru(packed)
        return self.out(nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0])


class WordLanguageModel(nn.Module):
    def __init__(self, ntoken=50, ninp=16, nhid=16, nlayers=2):
        super().__init__()
        self.ntoken = ntoken
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers)
        self.decoder = nn.Linear(nhid, ntoken)

    def forward(self, input, hidden):  # noqa: A002
        output, hidden = self.rnn(self.encoder(input), hidden)
        decoded = self.decoder(output).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden


class GruWithState(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(9, 14, num_layers=2, batch_first=True)
        self.fc = nn.Linear(14, 9)

    def forward(self, x, h):
        out, h = self.gru(x, h)
        return self.fc(F.relu(out[:, -1])), h


class StockLstm(nn.Module):
    def __init__(self, input_size=5, hidden_size=8, num_layers=2):
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, 1)

    def forward(self, x):
        h0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size)
        c0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :])


class LstmCells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, 51)
        self.lstm2 = nn.LSTMCell(51, 51)
        self.linear = nn.Linear(51, 1)

    def forward(self, input, future=0):  # noqa: A002, ARG002
        outputs = []
        h_t = c_t = h_t2 = c_t2 = torch.zeros(input.size(0), 51)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            outputs += [self.linear(h_t2)]
        return torch.cat(outputs, dim=1)


class Seq2Seq(nn.Module):
    def __init__(self, source=30, target=20, dim=12):
        super().__init__()
        self.source = nn.Embedding(source, dim)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.target = nn.Embedding(target, dim)
        self.decoder = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, target)

    def forward(self, src, trg):
        _, h = self.encoder(self.source(src))
        out, _ = self.decoder(self.target(trg), h)
        return self.out(out)


class AttentionDecoder(nn.Module):
    def __init__(self, hidden_size=16, output_size=25, max_length=10):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attn = nn.Linear(hidden_size * 2, max_length)
        self.attn_combine = nn.Linear(hidden_size * 2, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden, encoder_outputs):  # noqa: A002
        embedded = self.embedding(input).view(1, 1, -1)
        weights = F.softmax(self.attn(torch.cat((embedded[0], hidden[0]), 1)), dim=1)
        applied = torch.bmm(weights.unsqueeze(0), encoder_outputs.unsqueeze(0))
        output = self.attn_combine(torch.cat((embedded[0], applied[0]), 1)).unsqueeze(0)
        output, hidden = self.gru(F.relu(output), hidden)
        return F.log_softmax(self.out(output[0]), dim=1), hidden, weights


class MiniGpt(nn.Module):
    def __init__(self, vocab_size=65, block_size=8, n_embd=32):
        super().__init__()
        self.block_size = block_size
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.attn = nn.Linear(n_embd, 3 * n_embd)
        self.register_buffer("mask", torch.tril(torch.ones(block_size, block_size)))
        self.lm_head = nn.Linear(n_embd, vocab_size)

    def forward(self, idx, targets=None):
        _, t = idx.size()
        assert t <= self.block_size, "Cannot forward, model block size is exhausted."
        x = self.wte(idx) + self.wpe(torch.arange(t))
        q, k, v = self.attn(x).split(32, dim=2)
        w = (q @ k.transpose(-2, -1)).masked_fill(self.mask[:t, :t] == 0, float("-inf"))
        logits = self.lm_head(x + F.softmax(w, dim=-1) @ v)
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


class BigramShort(nn.Module):
    def __init__(self, vocab_size=11, context=4, n_embd=8):
        super().__init__()
        self.token = nn.Embedding(vocab_size, n_embd)
        self.position = nn.Embedding(context, n_embd)
        self.head = nn.Linear(n_embd, vocab_size)

    def forward(self, tokens):
        _, t = tokens.shape
        return self.head(self.token(tokens) + self.position(torch.arange(t)))


class PositionalTransformer(nn.Module):
    def __init__(self, ntoken=60, d_model=16):
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(ntoken, d_model)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d_model, 2, 32), 2)
        position = torch.arange(500).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(500, 1, d_model)
        pe[:, 0, 0::2], pe[:, 0, 1::2] = torch.sin(position * div), torch.cos(position * div)
        self.register_buffer("pe", pe)
        self.linear = nn.Linear(d_model, ntoken)

    def forward(self, src, src_mask):
        src = self.embedding(src) * math.sqrt(self.d_model)
        return self.linear(self.encoder(src + self.pe[: src.size(0)], src_mask))


class Translator(nn.Module):
    def __init__(self, source=40, target=30, dim=16):
        super().__init__()
        self.source, self.target = nn.Embedding(source, dim), nn.Embedding(target, dim)
        self.transformer = nn.Transformer(dim, 2, 1, 1, 32)
        self.generator = nn.Linear(dim, target)

    def forward(
        self,
        src,
        trg,
        src_mask,
        tgt_mask,
        src_padding_mask,
        tgt_padding_mask,
        memory_key_padding_mask,
    ):
        outs = self.transformer(
            self.source(src), self.target(trg), src_mask, tgt_mask, None,
            src_padding_mask, tgt_padding_mask, memory_key_padding_mask,
        )  # fmt: skip
        return self.generator(outs)


class AnnotatedTransformer(nn.Module):
    def __init__(self, vocab=30, dim=16):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, vocab)

    def forward(self, src, src_mask):
        x = self.embed(src)
        scores = self.q(x) @ self.k(x).transpose(-2, -1) / 4
        scores = scores.masked_fill(src_mask == 0, -1e9)
        return self.out(scores.softmax(-1) @ self.v(x))


class FloatTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(32, 4, 1, 1, 48, batch_first=True)

    def forward(self, src, tgt):
        return self.transformer(src, tgt)


class SelfAttention(nn.Module):
    def __init__(self, dim=24, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attn = (q @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((attn @ v).transpose(1, 2).reshape(b, n, c))


class CrossAttention(nn.Module):
    def __init__(self, query=20, context=36, inner=24):
        super().__init__()
        self.to_q = nn.Linear(query, inner)
        self.to_k = nn.Linear(context, inner)
        self.to_v = nn.Linear(context, inner)
        self.to_out = nn.Linear(inner, query)

    def forward(self, x, context):
        scores = torch.einsum("bid,bjd->bij", self.to_q(x), self.to_k(context))
        return self.to_out(scores.softmax(-1) @ self.to_v(context))


class BlockWithNorm(nn.Module):
    def __init__(self, dim=40):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 80), nn.GELU(), nn.Linear(80, dim))

    def forward(self, x):
        n = self.norm(x)
        x = x + self.attn(n, n, n, need_weights=False)[0]
        return x + self.mlp(self.norm(x))


class SeriesTransformer(nn.Module):
    def __init__(self, features=7, steps=96, horizon=24):
        super().__init__()
        self.project = nn.Linear(steps, horizon)
        self.mix = nn.Linear(features, features)

    def forward(self, x):  # batch, steps, features
        return self.mix(self.project(x.transpose(1, 2)).transpose(1, 2))


class Recommender(nn.Module):
    def __init__(self, n_users=20, n_items=30, dim=8):
        super().__init__()
        self.user_factors = nn.Embedding(n_users, dim)
        self.item_factors = nn.Embedding(n_items, dim)

    def forward(self, user, item):
        return (self.user_factors(user) * self.item_factors(item)).sum(1)


class NeuralFiltering(nn.Module):
    def __init__(self, users=15, items=25, dim=6):
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, user_ids, item_ids):
        x = torch.cat([self.user(user_ids), self.item(item_ids)], dim=1)
        return torch.sigmoid(self.mlp(x))


class Tabular(nn.Module):
    def __init__(self, cards=(7, 5, 3), n_cont=4):
        super().__init__()
        self.embeds = nn.ModuleList(nn.Embedding(card, 3) for card in cards)
        self.bn = nn.BatchNorm1d(n_cont)
        self.layers = nn.Sequential(
            nn.Linear(len(cards) * 3 + n_cont, 16), nn.ReLU(), nn.Linear(16, 2)
        )

    def forward(self, x_cat, x_cont):
        x = torch.cat([e(x_cat[:, i]) for i, e in enumerate(self.embeds)], 1)
        return self.layers(torch.cat([x, self.bn(x_cont)], 1))


class TimeEmbedded(nn.Module):
    def __init__(self, channels=3, dim=16):
        super().__init__()
        self.dim = dim
        self.time_mlp = nn.Sequential(nn.Linear(dim, 32), nn.SiLU(), nn.Linear(32, 8))
        self.inp = nn.Conv2d(channels, 8, 3, padding=1)
        self.out = nn.Conv2d(8, channels, 3, padding=1)

    def forward(self, x, t):
        freqs = torch.exp(-math.log(10000) * torch.arange(self.dim // 2) / (self.dim // 2))
        args = t[:, None].float() * freqs[None]
        emb = self.time_mlp(torch.cat([torch.cos(args), torch.sin(args)], dim=-1))
        return self.out(F.silu(self.inp(x) + emb[:, :, None, None]))


class ClassConditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Embedding(100, 8)
        self.label = nn.Embedding(10, 8)
        self.inp = nn.Conv2d(1, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x, timestep, y):
        emb = self.time(timestep) + self.label(y)
        return self.out(F.silu(self.inp(x) + emb[:, :, None, None]))


class ConvLstmCell(nn.Module):
    def __init__(self, input_dim=2, hidden_dim=4):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.conv = nn.Conv2d(input_dim + hidden_dim, 4 * hidden_dim, 3, padding=1)

    def forward(self, input_tensor, cur_state):
        h_cur, c_cur = cur_state
        combined = self.conv(torch.cat([input_tensor, h_cur], dim=1))
        i, f, o, g = torch.split(combined, self.hidden_dim, dim=1)
        c_next = torch.sigmoid(f) * c_cur + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c_next), c_next


class ConvLstm(nn.Module):
    def __init__(self, input_dim=2, hidden_dim=4):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.conv = nn.Conv2d(input_dim + hidden_dim, 4 * hidden_dim, 3, padding=1)

    def forward(self, x):
        b, steps, _, height, width = x.size()
        h = c = torch.zeros(b, self.hidden_dim, height, width)
        for step in range(steps):
            gates = self.conv(torch.cat([x[:, step], h], dim=1))
            i, f, o, g = gates.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class OptionalOnly(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(11, 3)

    def forward(self, x=None, scale=1.0):
        return self.linear(x) * scale


class LightningLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(1, 2, 3)
        self.layer = nn.Linear(3, 1)

    def forward(self, batch):
        b, two, _ = batch.shape
        return self.layer(batch).reshape(b, two)


class Whisperlike(nn.Module):
    def __init__(self, mels=20, state=16, frames=50):
        super().__init__()
        self.conv1 = nn.Conv1d(mels, state, 3, padding=1)
        self.conv2 = nn.Conv1d(state, state, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(frames, state))
        self.ln = nn.LayerNorm(state)

    def forward(self, x):
        x = F.gelu(self.conv2(F.gelu(self.conv1(x)))).permute(0, 2, 1)
        assert x.shape[1:] == self.positional_embedding.shape, "incorrect audio shape"
        return self.ln(x + self.positional_embedding)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 784))

    def forward(self, features):
        return self.decoder(self.encoder(features))


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(6, 9, 4)

    def forward(self, x1, x2):
        return self.bilinear(x1, x2)


MODELS = [
    cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, nn.Module) and cls.__module__ == __name__
]
SEEN, UNSEEN = MODELS[::2], MODELS[1::2]
