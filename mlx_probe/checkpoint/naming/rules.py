"""The tables that map a tensor's name to its block type and its component, by patterns.

`RULES` read the block type from the last segments of a name. `SCOPES` read the component from
the modules around it. `PIECES` recognise what belongs to a weight: scales, factors of adapters.
Three conventions:

- A tower is a component. Every tensor of a vision or audio encoder, of the projector between it
  and the language model, and of a head for multi-token prediction is "vision", "audio",
  "projector" or "mtp": the attention of a tower is not mixed with that of the language model.
  The block type is still q_proj, norm and so on; the layer is the tower's own.
- Encoder and decoder blocks both count from 0; their names differ.
- "residual" is what scales or mixes the residual stream beside attention and MLP: layer scale,
  hyper-connections, AltUp, LAuReL, gates and gains of whole sub-layers.

A name says only so much. DeepSeek's multi-token prediction is one more block after the last one,
where only its own parts (eh_proj, enorm, hnorm, shared_head) are "mtp". A q_proj in linear
attention is "ssm" only if its module is called so (linear_attn, not Kimi's self_attn). Of
Whisper's encoder only the convolutions are recognised as a tower.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMPONENTS", "MODULES", "PIECES", "RULES", "SCOPES", "TOWERS", "Piece", "Rule", "Scope"]

# Components that replace the rule's: inside a tower every tensor is of the tower.
TOWERS = ("mtp", "projector", "audio", "vision")
COMPONENTS = (
    *("embedding", "attention", "cross_attention", "ssm", "mlp", "moe", "norm", "residual"),
    *("output", *TOWERS, "other"),
)


@dataclass(frozen=True)
class Rule:
    """The role of tensors whose name ends in a pattern.

    Attributes:
        block_type: `Role.block_type` of a matching tensor.
        component: Its `Role.component`, unless a scope says otherwise. A rule for one of
            `TOWERS` applies only inside that tower.
        pattern: Matches, with ``search``, the last segments of a dot-separated name.
    """

    block_type: str
    component: str
    pattern: str


@dataclass(frozen=True)
class Scope:
    """The component of what lies inside certain modules.

    Attributes:
        component: `Role.component` of a tensor inside.
        inside: Pattern of the modules: whole segments before the last one.
        over: The component that it replaces; None for every component.
    """

    component: str
    inside: str
    over: str | None


@dataclass(frozen=True)
class Piece:
    """What belongs to a weight without being one: factors of an adapter, scales.

    Attributes:
        block_type: `Role.block_type`; the component is the weight's.
        pattern: The end of the name, after the weight's name.
        known: Whether it applies only if a rule knows the weight.
    """

    block_type: str
    pattern: str
    known: bool


# Excludes what packings and adapters append to the name of a module.
_NO_PIECE = r"(?!lora_|weight_[a-z]|input_|scales|biases|qweight|qzeros|g_idx)"
# What a short convolution holds, so that adapters beside it are none of it.
_OF_SCONV = r"(conv1d|weight_proj|static_w(eight)?)"

# The first line that matches decides. A projector inside a tower is not part of the tower.
_SCOPES: tuple[tuple[str, str | None, str], ...] = (
    ("mtp", None, r"mtp(_\w+)?|nextn(_\w+)?|eh_proj|[eh]norm|shared_head"),
    ("projector", None, r"(\w+_)?(multi_?modal|mm|vision|audio|image|speech|large)_projector|^mm"),
    ("projector", None, r"(model|^)\.?projector|(image_to_text|vision|visual|language)_projection"),
    ("projector", None, r"(layerwise|spatial)_projectors|image_pooling_2d"),
    ("projector", None, r"(patch_|vit_|deepstack_)?merger(_list|s)?|patch_merge_mlp|mlp_AR|mlp1"),
    ("projector", None, r"(generation_)?aligner|connector|modality_projection|qformer|perceive"),
    ("projector", None, r"embed_(vision|audio)|(vision|audio|vision_language)_adapter|resampler"),
    ("projector", None, r"high_res_vision_(neck|proj|alpha)|v\.deepstack|v\.msfa|a\.proj_blk"),
    ("projector", None, r"(acoustic|semantic)_connector|resampler_model"),
    ("projector", None, r"(text|hidden)_projection|thinker_to_talker_proj|sequence_compressor_\w+"),
    ("audio", None, r"audio_(tower|encoder|model|embed)|speech_encoder|asr_encoder|perception"),
    ("audio", None, r"(acoustic|semantic)_tokenizer_(en|de)coder|codec_model|code2wav|token2wav"),
    ("audio", None, r"feature_(extractor|projection|encoder)|pos_conv_embed"),
    ("audio", None, r"subsampling|pre_encode|mel_conditioner|diffusion_head|ctc_timestamp"),
    ("audio", None, r"word_timestamp_encoder|encoder\.(conv[123]?|embedder)|model\.audio"),
    ("audio", None, r"^(a|posnet|convnext|conv1d)"),  # GGUF
    ("vision", None, r"vision_(tower|model|encoder|backbone)|visual|(image|video)_tower|vit"),
    ("vision", None, r"image_(encoder|vit|embed)|img_processor|sam_(model|encoder)|vqmodel|^v"),
    ("vision", None, r"neck|qwen2_model|generation_head"),
    ("vision", None, r"patch_embed(dings|ding|der)?|embed_patches"),
    ("audio", None, r"conv(_module)?\.\w+_conv\d?(\.conv)?"),  # Conformers
    ("cross_attention", "attention", r"\w*cross_?att(entio)?n(_layers)?|cross_attn_\w+"),
    ("cross_attention", "attention", r"encoder_attn"),
    ("cross_attention", "attention", r"EncDecAttention|encoder_decoder_attention|second_sub_layer"),
    ("ssm", "attention", r"linear_attn|mlstm_layer"),
    ("moe", "mlp", r"experts|shared_experts?|share_expert|switch_mlp|block_sparse_moe"),
    ("moe", "mlp", r"shared_mlp|moe"),
)


_MASKS = r"(causal_mask|attention_mask|mask|tril|scale_attn|alibi(_mask)?|future_mask|logn_tensor)"
_ATTN = (
    r"((self_?|cross_?|window_|channel_)?att(entio)?n|self_att|self_attention|multi_head_attention)"
)
_T5 = r"(SelfAttention|LocalSelfAttention|EncDecAttention|attention\.attn|attn|attn_\d|rel_attn)"
_MLP = r"(mlps?|mlp_block|feed_forward|ffn?|ff|ffns\.#|intermediate_ffn|DenseReluDense)(\.\d|[12])?"
_EXPERT = r"(experts(\.(expert_)?(\d+|#)|\.mlp)?|shared_experts?|share_expert|switch_mlp)"

# The first line that matches decides, so narrow patterns come before wide ones: a norm inside
# attention is a norm. A pattern begins and ends at dots (".weight" or ".bias" may follow):
# "gate" does not match "gate_proj", and layer 1 does not match layer 11.
_TABLE: tuple[tuple[str, str, str], ...] = (
    # Stored beside the weights but not learned.
    # GPT-2's causal mask, and what other code stored in its place.
    ("buffer", "attention", rf"(attn|attention)\.(bias|masked_bias)|\w*att(n|ention)\.{_MASKS}"),
    ("buffer", "attention", r"^transformer\.bias"),
    ("buffer", "attention", r"(self_)?mask_value_float(16|32)|softcap|attention_dists"),
    ("projector_scale", "projector", r"high_res_vision_alpha"),
    ("buffer", "embedding", r"latent_(scaling|bias)_factor"),  # VibeVoice
    ("buffer", "attention", r"(query|key|diagonal)_decay|slope_rate"),  # lightning attention
    ("buffer", "embedding", r"position_ids|token_type_ids|embed_scale"),
    ("buffer", "embedding", r"(audio_tokens_|code_)?offsets?"),
    ("buffer", "moe", r"tid2eid"),  # DeepSeek V4: from token to expert
    ("buffer", "ssm", r"mup_vector"),
    ("buffer", "norm", r"running_(mean|var)|num_batches_tracked|normalizer"),
    ("buffer", "mlp", r"act_fn\.eps|(in|out)put_(min|max)"),  # Gemma 4 clips in its towers
    ("buffer", "residual", r"per_layer_(input|projection)_scale|router_input_scale"),
    ("buffer", "audio", r"kernel_size|stride|padding_total|filter"),
    ("buffer", "audio", r"cluster_usage|embed_sum|initialized|global_(mean|invstd)"),
    ("buffer", "vision", r"summary_idxs|std_(bias|scale)"),
    ("rope", "attention", r"(\w+_)?inv_freq|rope\.freqs|freqs_ci|inv_timescales|position_angles"),
    ("rope", "attention", r"rope_freqs|rope_factors_(long|short)|attn_rot_embd"),  # GGUF
    ("rope", "attention", r"attn\.embed_positions"),  # GPT-J
    (
        "rope",
        "attention",
        r"lerope\.alpha|rotary_emb\.(alpha|freqs|(cos|sin)(_cached?)?)|sinusoid_freq",
    ),
    ("rope", "embedding", r"timestep_embedding\.freq"),
    # Multi-token prediction: DeepSeek's blocks are numbered on after the last layer.
    ("eh_proj", "mtp", r"eh_proj|fc|(e|h|input)_proj"),
    ("output", "mtp", r"shared_head_head|shared_head\.(head|output)"),
    # Normalization, anywhere.
    ("norm", "norm", r"\w*[nN]orm(_?\d+|_[a-z]\w*)?(\.(\d|#))?"),
    ("norm", "norm", r"(\w+_)?ln(_?\d|_\w+)?|(\w+_)?bn|(before|after)_rms"),
    ("norm", "norm", r"[qk]_layernorm\.norms\.\d+"),  # StableLM, one for each head
    ("norm", "norm", r"visual_projection\.1|mlp1\.0"),  # in a sequence, Git and Nemotron
    ("norm_gate", "norm", r"(input|post_attention)_layernorm\.W_(down|up)"),
    ("norm_gate", "norm", r"(attn_norm|ada_rms_norm|norm_out)\.linear[12]?"),
    # Residual stream.
    ("layer_scale", "residual", r"ls_?[12](\.gamma)?|layer_scale[12]\.lambda1|lambda_[12]"),
    ("layer_scale", "residual", r"layer_scalar|(mlp|self_attn)_layer_scale\.scale|out_scale"),
    ("layer_scale", "residual", r"layer_output_scale|(ffn_)?gamma|lambdas|(attn|mlp)_gain\.a_g"),
    ("residual_gate", "residual", r"add_(attn|ffn)_(alpha|beta)|embed_skip\.a_g"),
    ("residual_gate", "residual", r"(input|post_attention)_residual|cross_attn_(attn|mlp)_gate"),
    ("residual_gate", "residual", r"(layers\.#|adapter)\.gate_(attn|ffn|attention|ffw)"),
    ("residual_gate", "residual", r"alpha_(cross_attn|dense)"),
    ("residual_gate", "residual", r"post_(attention|feedforward)_residual_gate\.gate"),
    ("residual_gate", "residual", r"((input_)?hidden_states|residual)_(scale|bias)|\w+_res_proj"),
    ("residual_gate", "residual", r"(attention|mlp|final)_input\.query|attn_res\.output_query"),
    ("residual_gate", "residual", r"attn_res\.(attn|mlp)_queries\.(\d+|#)"),
    ("hyper_connection", "residual", r"(attn|ffn)_hc\.(base|fn|scale)|hc_(\w+_)?(base|fn|scale)"),
    ("hyper_connection", "residual", r"input_mix_weight_(down|up)|block_inject_weight"),
    ("altup", "residual", r"altup\.(modality_router|\w+_coefs|correct_output_scale)"),
    ("altup", "residual", r"altup_(unembed_)?projections\.\d+|altup_(unembd_)?proj"),
    ("altup", "residual", r"altup_((correct|predict)_coef|correct_scale|router)"),
    ("laurel_left", "residual", r"laurel\.linear_left|laurel_l"),
    ("laurel_right", "residual", r"laurel\.linear_right|laurel_r"),
    # Embeddings.
    ("per_layer_embedding", "embedding", r"embed_tokens_per_layer|per_layer_token_embd"),
    ("per_layer_gate", "embedding", r"per_layer_input_gate|inp_gate"),
    ("per_layer_projection", "embedding", r"per_layer_(model_)?proj(ection)?|blk\.(\d+|#)\.proj"),
    ("embedding", "embedding", r"(vision_)?embed_tokens(\.\d+)?|(word|token|tok)_embeddings?"),
    ("embedding", "embedding", r"wte(\.(new_)?embedding)?|embed_in|token_embd|tokens_embed"),
    ("embedding", "embedding", r"input_embedding|embed(ding|dings)?|^(\w+\.){0,2}shared"),
    ("embedding", "embedding", r"ngram_embeddings"),
    ("embedding", "embedding", r"embed_audio_tokens|visual_embeddings_table"),
    ("embedding", "embedding", r"(codec|code)_embed(ding)?"),
    ("embedding", "embedding", r"\w+_hash_tok_embedding|(value|generation|entity)_embeddings"),
    ("embedding", "embedding", r"codec_embedding\.\d+|(shape|pronunciation)_embed|transformer\.w"),
    ("embedding", "embedding", r"eoi_embedding|speaker_embedding|ngram_embeddings\.embedders\.\d+"),
    ("embedding_projection", "embedding", r"embeddings_project|embedding_hidden_mapping_in"),
    ("embedding_projection", "embedding", r"embedding_(transformation|projection)|post_projs\.\d+"),
    ("embedding_projection", "embedding", r"entity_embedding_dense|map_inputs_layer"),
    ("embedding_projection", "embedding", r"(encoder|embedder|sinusoid_embeds)\.linear"),
    ("embedding_projection", "embedding", r"action_in_proj|action_time_mlp_(in|out)|state_proj"),
    ("embedding_projection", "embedding", r"(encoder|audio)\.(input_linear|encoder)"),
    ("embedding_projection", "embedding", r"encoder_decoder_proj|subsampling\.linear"),
    ("embedding_projection", "embedding", r"bottleneck\.input\.dense|decoder\.proj"),
    ("embedding_projection", "embedding", r"patch_embedding_projection|embeddings\.projection"),
    # Relative positions inside attention.
    ("relative_position_bias", "attention", r"relative_attention_bias(_layer\.bias_values)?"),
    ("relative_position_bias", "attention", r"(cross_)?attn_rel_b|rel_pos_[hw]|distance_embedding"),
    ("relative_position_bias", "attention", r"rel_attn\.r(_[rsw]_bias)?"),
    ("relative_position_bias", "attention", r"attention\.r_([rsw]_bias|kernel)"),
    ("relative_position_bias", "attention", r"seg_embed|(pos_)?bias_[uv]|rel_(pos_emb|embeddings)"),
    ("relative_position_bias", "attention", r"relative_(pos_embeddings|k_proj)|linear_pos"),
    ("relative_position_bias", "attention", r"rel_logits_proj(\.proj)?|attn_k_rel"),
    ("relative_position_bias", "attention", r"attn_rel_pos_emb"),
    ("relative_position_bias", "attention", r"attn\.pos_[hw]|self_attn\.r_proj|wr_du"),
    ("relative_position_bias", "attention", r"per_dim_(k_)?scale"),
    ("position_embedding", "embedding", r"(\w+_)?pos(ition(s|al)?)?_(emb(ed(ding)?s?)?|embd)"),
    ("position_embedding", "embedding", r"position(al)?_embedding_(table|vlm)"),
    ("position_embedding", "embedding", r"wpe|embed_positions(\.(weights|pe|pe_k))?|pos_encoding"),
    ("position_embedding", "embedding", r"pos_sinusoidal_embed\.weights|pos_embd_k"),
    ("position_embedding", "embedding", r"(row|column)_embedd(er|ings)"),
    ("position_embedding", "embedding", r"(position_embeddings|pos_emb)\.weights\.\d"),
    ("position_embedding", "embedding", r"tile_embedding|pos_idx_to_embed|image_positions|pos_enc"),
    ("position_embedding", "embedding", r"\w+_positional_embedding\.(embedding|gate)|embed_global"),
    ("token_type_embedding", "embedding", r"token_type_embeddings(_\d)?|token_types"),
    ("token_type_embedding", "embedding", r"segment_emb(edding)?"),
    ("special_token", "embedding", r"class_embedding|cls_(register_)?token(\.token)?|mask_emb"),
    ("special_token", "embedding", r"masked_spec_embed|image_(newline|begin|end|sep)|boi|eoi"),
    ("special_token", "embedding", r"view_sep[ea]rator|(silence_embeds|learnable_sil_emb)"),
    ("special_token", "embedding", r"class_embd"),
    ("special_token", "embedding", r"(global|sub)_img_feature_extensor|audio_bos_eos_token"),
    ("special_token", "embedding", r"img_break|z_L_init"),
    ("query_tokens", "embedding", r"query_tokens|proj_query|latents|latent_query|probe"),
    ("query_tokens", "embedding", r"query_(768|1024)(_\w+)?"),
    ("patch_embedding", "embedding", r"patch_embed(ding|der|dings)?(\.(proj(ection)?|linear))?"),
    ("patch_embedding", "embedding", r"patch_(conv|embd|projection|embedding)|patchifier"),
    ("patch_embedding", "embedding", r"patch_embedd(er|ing)\.(input_proj|patch_embedding)"),
    ("patch_embedding", "embedding", r"embed_patches\.proj|video_patch_projection"),
    ("patch_embedding", "embedding", r"(video_)?embedder"),
    # A router may be a small network; pieces of adapters and packings are none of its layers.
    ("router", "moe", rf"(mlp\.gate|router|gate\.router_mlp)\.{_NO_PIECE}\w+|mlp\.gate_weight"),
    # What follows the last block.
    ("output", "output", r"(generator_)?lm_heads?(\.\d+)?|embed_out|classifier|score|codec_head"),
    ("output", "output", r"((entity_)?predictions|lm_head|cls\.predictions)\.decoder|^decoder"),
    ("output", "output", r"^head"),
    ("output", "output", r"(cls\.)?(predictions|cls\.seq_relationship)|cls\.seq_relationship"),
    ("output", "output", r"vocab_projector|lm_loss|final_logits_bias|unembed(ding_projection)?"),
    ("output", "output", r"^output|^cls\.output|output_projection|^proj_out|pred_layer\.proj"),
    ("output", "output", r"action_out_proj|encoder\.out(_mid)?|lm_head\.out_proj"),
    ("output", "output", r"log_softmax\.mlp\.layer0|^head\.decoder"),
    ("output", "output", r"contact_head\.regression|entity_predictions"),
    ("output", "output", r"embedding_decoder|logits_dense|word_timestamp_head|vision_head"),
    ("logit_scale", "output", r"lm_head_gain\.w_g|logit_scale"),
    ("head_transform", "output", r"(\w+\.)*transform\.dense|vocab_transform"),
    ("head_transform", "output", r"lm_head\.(dense|linear)"),
    ("head_transform", "output", r"(cls\.|generator_)?predictions\.dense|^head\.dense"),
    ("head_transform", "output", r"(projection_)?head\.(dense|linear[12])"),
    ("pooler", "output", r"pooler(\.(dense|linear))?|^cls|^dense_[23]"),
    ("attention_scale", "attention", r"self_attn\.(A|dt_proj)"),  # Doge
    # State spaces, linear attention, recurrences.
    ("ssm_a_log", "ssm", r"A_log|ssm_a|recurrent_param"),
    ("ssm_d", "ssm", r"D|ssm_d"),
    ("dt_bias", "ssm", r"dt_bias|dt_proj_bias"),
    ("ssm_dt_proj", "ssm", r"dt_proj(_weight)?|ssm_dt"),
    ("ssm_x_proj", "ssm", r"x_proj(_weight)?|bcdt_proj|ssm_x"),
    ("conv", "attention", r"self_attn\.conv_[kv]|conv_qk_(depthwise|grouped)"),
    ("conv", "attention", r"post_attention\.conv1d"),
    ("conv", "attention", rf"([kv]|attn)_sconv(\.{_OF_SCONV})?|attention\.self\.conv"),
    ("conv", "attention", r"\w+_attention_conv\w+\.conv1d"),
    ("conv", "mlp", rf"mlp_sconv(\.{_OF_SCONV})?"),
    ("conv", "mlp", r"(intermediate|output|post_mlp_convolution)\.conv1d"),
    ("conv", "ssm", r"(ssm_)?conv1d(_[qkv])?|[qkv]_conv1d|qk?v?_conv\.conv|[kv]_conv\.conv"),
    ("conv", "ssm", r"conv_1d"),
    ("conv", "attention", r"key_conv_attn_layer\.\w+|conv_(kernel|out)_layer|key_conv_attn_layer"),
    ("ssm_in_proj", "ssm", r"(mamba|mixer|conv|shortconv)\.in_proj|ssm_in"),
    # A mixer is attention in BERT's and Phi's first code, a recurrence elsewhere.
    ("o_proj", "attention", r"(encoder\.layers|transformer\.h)\.#\.mixer\.out_proj"),
    ("ssm_out_proj", "ssm", r"(mlstm_layer|mamba|mixer|conv|shortconv|linear_attn)\.out_proj"),
    ("ssm_out_proj", "ssm", r"ssm_out"),
    ("conv", "ssm", r"(layers|blk)\.(\d+|#)\.(shortconv\.conv|conv\.conv)"),
    ("in_proj_qkvz", "ssm", r"linear_attn\.in_proj_qkvz"),
    ("in_proj_ba", "ssm", r"linear_attn\.in_proj_ba|ssm_ba"),
    ("in_proj_qkv", "ssm", r"linear_attn\.in_proj_qkv"),
    ("in_proj_z", "ssm", r"linear_attn\.in_proj_z"),
    ("in_proj_a", "ssm", r"linear_attn\.(in_proj_a|a_proj)|ssm_alpha"),
    ("in_proj_b", "ssm", r"linear_attn\.in_proj_b|ssm_beta"),
    ("in_proj_b", "ssm", r"(self_attn|attention|linear_attn)\.b_proj"),  # delta rule's beta
    ("forget_gate", "ssm", r"f_a_proj|f_b_proj|f_proj|ssm_f_[ab]"),
    ("output_gate", "ssm", r"ssm_g_[ab]|temporal_block\.linear_y"),
    ("ssm_in_proj", "ssm", r"temporal_block\.linear_x"),
    ("ssm_out_proj", "ssm", r"temporal_block\.linear_out"),
    ("recurrence_gate", "ssm", r"rg_lru\.(input|recurrent)_gate_(weight|bias)"),
    ("mlstm_gate", "ssm", r"[fio]gate_preact"),
    # RWKV; the key, value and receptance of the channel mix are an MLP.
    ("time_decay", "ssm", r"time_(decay|first)|time_mix_(decay|first)"),
    # GGUF's matrices have the names of Hugging Face's mixing vectors.
    ("k_proj", "ssm", r"blk\.#\.time_mix_key"),
    ("v_proj", "ssm", r"blk\.#\.time_mix_value"),
    ("o_proj", "ssm", r"blk\.#\.time_mix_output"),
    ("output_gate", "ssm", r"blk\.#\.time_mix_gate"),
    ("r_proj", "ssm", r"blk\.#\.time_mix_receptance"),
    ("time_mix", "ssm", r"time_mix_(key|value|receptance|lerp_\w+|[avw]0)|channel_mix_lerp_[kr]"),
    ("time_mix", "ssm", r"attn\.(x_[agkrvw]|[kr]_[ka])|time_mix_(k_[ak]|r_k)|ffn\.x_k"),
    ("time_mix_lora", "ssm", r"[agvw]_lora\.lora\.[02]|time_mix_((decay_)?w|[agv])[12]"),
    ("r_proj", "ssm", r"attention\.receptance|attn\.r_proj"),
    ("timestep_embedding", "audio", r"time_embed\.time_mlp\.\d|timestep_proj\.fc\d"),
    # Attention; first what chooses or compresses keys (DeepSeek's indexer and the like).
    ("index_q_proj", "attention", r"indexer\.(wq_b|q_b_proj|attn_q_b)|index_q_proj"),
    ("index_k_proj", "attention", r"indexer\.(wk|attn_k)|index_k_proj"),
    ("index_qk_proj", "attention", r"indexer\.index_qk_proj"),
    ("index_weights_proj", "attention", r"indexer\.(scorer\.)?weights_proj|indexer\.proj"),
    ("index_scale", "attention", r"indexer\.(softmax|ssmax)_scaling(\.\w+)?"),
    ("compressor_kv_proj", "attention", r"compressor\.(indexer\.)?(kv_proj|wkv)"),
    ("compressor_gate", "attention", r"compressor\.(indexer\.)?(gate_proj|wgate)"),
    ("compressor_gate", "attention", r"\w+_compress_gate"),
    ("compressor_position", "attention", r"compressor\.(indexer\.)?(ape|position_bias)"),
    ("compressor_position", "attention", r"\w+_compress_ape"),
    ("attention_sinks", "attention", r"(attn_)?sinks?|attention_sink_bias|learnable_sink_param"),
    ("attention_sinks", "attention", r"(attn_)?sink_proj|softmax_offset"),
    ("attention_scale", "attention", r"[sq]+max_scaling\.[bs]|softmax_scaling(\.scale)?"),
    ("attention_scale", "attention", r"qk_norm\.temp"),
    ("attention_scale", "attention", r"(q|rel)_l2_clip\.scale|head_gain\.head_g|lambda_[kq][12]"),
    ("attention_scale", "attention", r"exclusive_self_attention\.alpha"),
    ("attention_gate", "attention", r"self_attn\.(gate_proj|gate_bias|output_gate|linear_gate)"),
    ("attention_gate", "attention", r"(self_attn|attention|linear_attn)\.g_proj|g_[ab]_proj"),
    ("attention_gate", "attention", r"attn\.gate_attn|attn_gate|output_projection\.gate_proj"),
    ("q_a_proj", "attention", r"q_a_proj|wq_a|attn_q_a"),
    ("q_b_proj", "attention", r"q_b_proj|wq_b|attn_q_b"),
    ("kv_a_proj", "attention", r"kv_a_proj_with_mqa|wkv_a_with_mqa|attn_kv_a_mqa"),
    ("kv_b_proj", "attention", r"kv_b_proj|wkv_b|attn_kv_b"),
    ("k_b_proj", "attention", r"embed_q|attn_k_b"),  # kv_b_proj in two, absorbed
    ("v_b_proj", "attention", r"unembed_out|attn_v_b"),
    ("o_a_proj", "attention", r"o_a_proj|wo_a"),
    ("o_b_proj", "attention", r"o_b_proj|wo_b"),
    ("kv_proj", "attention", r"(self_attn|self_attention|attn)\.kv_proj|attn\.wkv|to_kv"),
    ("kv_proj", "attention", r"resampler\.kv"),
    ("qk_proj", "attention", r"self_attention\.query_key"),
    ("gate_qkv_proj", "attention", r"gqkv_proj|qkvg_proj"),
    ("q_gate_proj", "attention", r"q_gate_proj"),
    ("qkv_proj", "attention", r"qkv_proj|query_key_value|(vis_)?attn_qkv"),
    ("qkv_proj", "attention", r"attn\.(c_attn|Wqkv|w_qkv|qkv)"),
    ("qkv_proj", "attention", r"W_pack|att_proj|self_attn\.qkv|q_k_v_proj|wqkv"),
    ("qkv_proj", "attention", r"(window|channel)_attn\.qkv|transformer_encoder\.#\.qkv"),
    ("qkv_proj", "attention", r"attention\.(wqkv|self\.in_proj)|in_proj_(weight|bias)|mixer\.Wqkv"),
    ("q_proj", "attention", r"q_proj(\.linear)?|wq|attn_q|q_lin|c_q|attn_query|project_q|to_q"),
    ("k_proj", "attention", r"k_proj(\.linear)?|wk|attn_k|k_lin|c_k|attn_key|project_k|to_k"),
    ("v_proj", "attention", r"v_proj(\.linear)?|wv|attn_v|v_lin|c_v|attn_value|project_v|to_v"),
    ("q_proj", "attention", r"(self|attention|\w*attn)\.query(_proj|_global)?|query_net"),
    ("k_proj", "attention", r"(self|attention|\w*attn)\.key(_proj|_global)?|key_net"),
    ("v_proj", "attention", r"(self|attention|\w*attn)\.value(_proj|_global)?|value_net"),
    ("q_proj", "attention", rf"(longformer_self_attn|self_attention)\.query(_global)?|{_T5}\.q"),
    ("k_proj", "attention", rf"(longformer_self_attn|self_attention)\.key(_global)?|{_T5}\.k"),
    ("v_proj", "attention", rf"(longformer_self_attn|self_attention)\.value(_global)?|{_T5}\.v"),
    ("q_proj", "attention", r"attention\.q_head|Wq|linear_q|mlstm_layer\.q|(cross|self)_attn_q"),
    ("k_proj", "attention", r"attention\.k_head|Wk|linear_k|mlstm_layer\.k|(cross|self)_attn_k"),
    ("v_proj", "attention", r"attention\.v_head|Wv|linear_v|mlstm_layer\.v|(cross|self)_attn_v"),
    ("q_proj", "attention", r"attention\.self\.q_bias|(e2e|e2w|w2e)_query|wq_du|mixer\.q_weight"),
    ("k_proj", "attention", r"wk_dv|mixer\.k_weight"),
    ("v_proj", "attention", r"v_proj_(current|delayed)|wv_dv"),
    ("q_proj", "cross_attention", r"adapter\.query"),  # Evolla: residues of a protein
    ("k_proj", "cross_attention", r"adapter\.key_protein"),
    ("v_proj", "cross_attention", r"adapter\.value_protein"),
    ("o_proj", "cross_attention", r"adapter\.out_proj"),
    ("v_proj", "attention", r"attention\.self\.v_bias"),
    ("o_proj", "attention", r"(self_attention|attention|crossattention)\.output\.dense|out_lin"),
    ("o_proj", "attention", r"attn\.c_proj|(self_attn|\w*attention)\.dense|attention\.dense_bias"),
    ("o_proj", "attention", rf"{_ATTN}\.(output|out|proj|projection(_layer)?|wo|Wo|to_out(\.0)?)"),
    ("o_proj", "attention", r"o_proj(\.linear)?|((vis|self)_)?attn_o(ut|utput)?|attention_out"),
    ("o_proj", "attention", r"cross_attn_o(ut)?"),
    ("o_proj", "projector", r"cross_attn\.linear"),
    ("o_proj", "attention", r"\w*att(n|ention)(_\d)?\.((out|post)_proj|linear_out|attn_resid)"),
    ("o_proj", "attention", r"self_attn\.post\.linear"),
    ("o_proj", "attention", rf"{_T5}\.o|attn(_\d)?\.proj_out"),
    ("o_proj", "attention", r"attn\.(\d+|#)\.(out_proj|proj_out)"),
    ("o_proj", "attention", r"(first|second)_sub_layer\.out_projection"),
    ("o_proj", "attention", r"(blocks|transformer_encoder)\.(\d+|#)\.wo"),
    ("o_proj", "attention", r"wo_ud"),
    ("o_proj", "attention", r"self_attention\.experts|layers\.#\.[01]\.to_out"),  # JetMoe's bias
    ("q_proj", "vision", r"attn\.(\d+|#)\.q"),
    ("k_proj", "vision", r"attn\.(\d+|#)\.k"),
    ("v_proj", "vision", r"attn\.(\d+|#)\.v"),
    # Mixtures of experts; the shared expert's scalar gate routes as well.
    ("router", "moe", r"layers\.#\.gate"),  # Mistral's own layout
    ("router", "moe", r"e_score_correction_bias|exp_probs_b|router(_bias)?|expert_bias"),
    ("router", "moe", r"(mlp|feed_forward|ffn|moe|mixer|block_sparse_moe|\w+_moe)\.gate"),
    ("router", "moe", r"shared_expert_gate"),
    ("router", "moe", r"ffn_gate_inp(_shexp)?"),
    ("latent_down_proj", "moe", r"fc1_latent_proj|routed_expert_down_proj|ffn_latent_down"),
    ("latent_down_proj", "moe", r"pre_expert_proj"),
    ("latent_up_proj", "moe", r"fc2_latent_proj|routed_expert_up_proj|ffn_latent_up"),
    ("latent_up_proj", "moe", r"post_expert_proj"),
    ("gate_up_proj", "moe", rf"{_EXPERT}\.(gate_up_proj(_bias)?|w13_weight|shared_w13_weight)"),
    ("gate_up_proj", "moe", r"ffn_gate_up_exps"),
    ("gate_up_proj", "moe", r"(shared_mlp|block_sparse_moe|experts)\.input_linear"),
    ("down_proj", "moe", rf"{_EXPERT}\.(down_proj_bias|(shared_)?w2_weight)"),
    ("down_proj", "moe", r"(shared_mlp|block_sparse_moe|experts)\.output_linear"),
    ("gate_proj", "moe", rf"{_EXPERT}\.w1|ffn_gate_(exps|shexp|chexps)|ffn_gate\.(\d+|#)"),
    ("up_proj", "moe", rf"{_EXPERT}\.(w3|v1)|ffn_up_(exps|shexp|chexps)|ffn_up\.(\d+|#)"),
    ("down_proj", "moe", rf"{_EXPERT}\.w2|ffn_down_(exps|shexp|chexps)|ffn_down\.(\d+|#)"),
    # Dense MLPs; without a gate the first matrix is up_proj, the second down_proj.
    ("shared_block_proj", "residual", r"model\.layers\.#\.linear"),  # Zamba
    ("expert_gate", "moe", r"mlp\.coefficient"),  # Klear: routed against shared experts
    ("down_proj", "moe", r"layers\.(\d+|#)\.mlp|mlp\.output_linear"),  # JetMoe
    ("gate_up_proj", "moe", r"mlp\.input_linear"),
    ("up_proj", "mlp", r"h\.#\.mlp\.w1"),  # the first Qwen
    ("gate_proj", "mlp", r"h\.#\.mlp\.w2"),
    ("lora_a", "mlp", r"\w+_adapter_list\.\d+\.0"),  # Zamba 2's shared blocks
    ("lora_b", "mlp", r"\w+_adapter_list\.\d+\.1"),
    ("adapter", "mlp", r"adapter_modules\.\w+\.dense[12]"),  # X-MOD's languages
    ("loop_gate", "attention", r"gate_projections\.(\d+|#)"),
    ("gate_up_proj", "mlp", r"gate_up_proj|mlp\.Wi"),
    ("up_gate_proj", "mlp", r"up_gate_proj|ff_proj"),  # the gate is the second half
    ("gate_proj", "mlp", r"proj_up_gate"),
    ("gate_proj", "mlp", r"gate_proj(\.linear)?|feed_forward\.w1|ffn_gate(_1)?"),
    ("gate_proj", "mlp", r"(mlp|shared_experts)\.(linear_gate|mlp_gate)"),
    ("up_proj", "mlp", r"up_proj(\.linear)?|feed_forward\.w3|ffn_up(_1)?|vis_up"),
    ("down_proj", "mlp", r"down_proj(\.linear)?|feed_forward\.w2|ffn_down(_1)?|vis_down"),
    ("gate_proj", "mlp", rf"{_MLP}\.(wi_0|c_fc_0|fc12|linear_gate)|w_in\.w_0|vis_gate"),
    ("up_proj", "mlp", rf"{_MLP}\.(wi_1|c_fc_1|fc11|mlp_linear)|w_in\.w_1"),
    ("up_proj", "mlp", rf"{_MLP}\.(wi|c_fc|dense_h_to_4h|lin_?1|linear_?1|fc_in)"),
    ("up_proj", "mlp", rf"{_MLP}\.intermediate_dense"),
    ("down_proj", "mlp", rf"{_MLP}\.(wo|c_proj|dense_4h_to_h|lin_?2|linear_?2|fc_out)"),
    ("down_proj", "mlp", rf"{_MLP}\.output_dense"),
    ("up_proj", "mlp", rf"{_MLP}\.(dense1|linear_fc1|layer_1|proj_1|intermediate|net\.0|0)"),
    ("down_proj", "mlp", rf"{_MLP}\.(dense2|linear_fc2|layer_2|proj_2|output|net\.3|2|3|Wo)"),
    ("up_proj", "mlp", rf"{_MLP}\.(ffw_layer_1\.linear|dense\.dense|pwconv1|key)"),
    ("up_proj", "mlp", r"third_sub_layer\.dense_in"),
    ("down_proj", "mlp", rf"{_MLP}\.(ffw_layer_2\.linear|output\.dense|value)"),
    ("down_proj", "mlp", r"third_sub_layer\.dense_out"),
    ("down_proj", "mlp", r"output\.bottleneck\.dense"),
    ("linear", "attention", r"self_attn\.linear"),  # a whole sub-layer pruned to one matrix
    ("linear", "mlp", r"mlp\.linear"),
    ("gate_proj", "vision", r"fc3"),
    ("up_proj", "vision", r"mlp\.fc0"),  # Kimi counts from 0
    ("down_proj", "vision", r"vision_tower\.encoder\.blocks\.#\.mlp\.fc1"),
    ("r_proj", "mlp", rf"{_MLP}\.receptance|channel_mix_receptance"),
    ("up_proj", "mlp", r"fc1|(intermediate|intermediate_query)\.dense|channel_mix_key|pwconv1"),
    ("down_proj", "mlp", r"fc2|(output|output_query)\.dense|channel_mix_value|pwconv2|ffn\.w_out"),
    ("up_proj", "mlp", rf"{_EXPERT}\.wi|albert_layers\.\d+\.ffn|proj_up"),
    ("down_proj", "mlp", rf"{_EXPERT}\.wo|albert_layers\.\d+\.ffn_output|ff_out|proj_down"),
    ("down_proj", "mlp", r"mlp_resid"),
    ("activation", "mlp", r"blk\.#\.ffn|act_fn\.(alpha_[np]|beta)"),
    ("activation", "audio", r"alpha|beta|log_k"),
    # The rest of towers and projectors, known only there.
    ("conv", "other", r"(\w+_)?conv(_?\d[da]?\d?|_in|_out|_pre|_post)?(\.conv)?|convs\.\d+"),
    ("conv", "other", r"net_[23]"),
    ("conv", "other", r"convs?[12]?\.\d+(\.\d)?|convtr"),
    ("conv", "other", r"nin_shortcut|\w*(up|down)sampler?[12]?|ups\.\d+\.\d+|upsample"),
    ("conv", "audio", r"lconv1d\.linear_(start|end)\.linear|glu\.b[12]"),
    ("conv", "audio", r"(conv_|hidden_|decoder_)layers\.(\d+|#)"),
    ("conv", "audio", r"conv_(dw|pw[12])|conv[12]d\.\d+|convnext\.#\.(dw|pw[12])"),
    ("conv", "projector", r"model\.peg\.\d+"),
    ("layer_scale", "audio", r"ffn_scale(_1)?"),
    ("conv", "audio", r"subsampling\.layers\.#|spk_encoder\.fc"),
    ("conv", "vision", r"neck\.\d+|layers\.linear_\d+"),
    ("norm_gate", "vision", r"(\w*norm\d?|\w+_norms\.(\d+|#)|norm_out)\.conv_[by]"),
    ("norm_gate", "audio", r"diffusion_head\.layers\.(\d+|#)\.linear|final_layer\.linear_1"),
    ("output", "audio", r"embd_to_logits|enc_ctc_out(_mid)?"),
    ("output", "audio", r"final_layer\.linear_2|code2wav_dit_model\.proj_out"),
    ("output", "audio", r"classifier\.(dense|out_proj)"),
    ("output", "audio", r"(first|single)_hidden_to_\w+"),
    ("output", "vision", r"generation_head\.\w+|head_linear"),
    ("input_projection", "audio", r"(cond|noisy_images|encoder)_proj|input_embed\.proj"),
    ("input_projection", "audio", r"input_proj(_linear|ection)?"),
    ("input_projection", "audio", r"(feature_projection|embedder)\.projection"),
    ("input_projection", "audio", r"pre_encode\.(out|proj)|embed\.out"),
    ("input_projection", "vision", r"encoder_layers\.#\.projection|proj_in|embeddings\.proj"),
    ("projector", "audio", r"proj[12]?|proj_linear|output_proj|(up|down)_proj_for_\w+|model\.proj"),
    ("projector", "vision", r"proj_out|img_projection_(up|down)"),
    ("gate_proj", "projector", r"mm\.gate"),
    ("up_proj", "projector", r"mm\.up"),
    ("down_proj", "projector", r"mm\.down"),
    ("gate_proj", "projector", r"image_projector\.w1"),
    ("down_proj", "projector", r"image_projector\.w2"),
    ("up_proj", "projector", r"image_projector\.w3"),
    ("projector", "projector", r"(\w+_)?linear(_\d|_fc\d|\d|_in|_out)?|proj(_in|_out)?(\.\d)?"),
    ("projector", "projector", r"dense|layers"),
    ("projector", "projector", r"mlp(\.\d|_fc\d)?|\d|fc\d?|mlp\.\w+|w_in|w_out|(in|out)_proj"),
    ("projector", "projector", r"merging_layer|mm\.(\d+|patch_merger)|patch_merger"),
    ("projector", "projector", r"\w*_?projector|projection|\w+_proj(ection)?(_weight)?|wo"),
    ("projector", "projector", r"hidden_layers\.(\d+|#)"),
    ("query_tokens", "projector", r"query"),
    ("activation", "projector", r"act"),
)
# BERT's first checkpoints call a norm's weight gamma and its bias beta.
_PARAMETER = r"(\.(weight|bias|gamma|beta))?\Z"
RULES = tuple(
    Rule(block_type, component, rf"(?:^|\.)(?:{pattern}){_PARAMETER}")
    for block_type, component, pattern in _TABLE
)
SCOPES = tuple(
    Scope(component, rf"(?:^|\.)(?:{inside})(?:\.|\Z)", over) for component, over, inside in _SCOPES
)

# The name of such a piece is the weight's name (for scales of a cache, the module's name) and
# one of these ends. The last field: only if a rule knows the rest of the name.
_PIECES: tuple[tuple[str, str, bool], ...] = (
    ("lora_a", r"\.lora_(embedding_)?[aA](\.\w+)??(\.(weight|bias))?", False),
    ("lora_b", r"\.lora_(embedding_)?[bB](\.\w+)??(\.(weight|bias))?", False),
    ("dora_magnitude", r"\.lora_magnitude_vector(\.\w+)??(\.weight)?", False),
    ("dora_magnitude", r"\.m", True),  # mlx-lm
    ("quantization", r"\._(data|scale|shift)(\._data)?", False),  # optimum-quanto
    ("quantization", r"[._](\w+_)?(scales?|scaling_factor|integer|amax)(_inv|_\d)?", False),
    ("quantization", r"[._](weight_)?(zero_point|zeros|blocks|biases)", False),
    ("quantization", r"\.(weight_(format|shape|packed)|qzeros|qweight|g_idx|perm|SCB)", False),
    ("quantization", r"\.q_(scale_max|invperm|groups|group_map)", False),  # EXL2
    ("quantization", r"\.(absmax|quant_map|nested_\w+|quant_state\.\w+)", False),
    ("quantization", r"\.(\w*act(ivation)?\w*\.)*(x_min|x_max|shift)", False),  # I-BERT
)
PIECES = tuple(
    Piece(block_type, rf"(\.(weight|bias))?{pattern}\Z", known)
    for block_type, pattern, known in _PIECES
)
# The component of a piece that belongs to a whole module.
MODULES: tuple[tuple[str, str], ...] = (
    ("moe", r"(?:^|\.)experts\Z"),
    ("mlp", rf"(?:^|\.){_MLP}\Z"),
    ("attention", rf"(?:^|\.){_ATTN}(\.self)?\Z"),
)
