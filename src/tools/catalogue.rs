//! The prompts that every house has. Their names, arguments and defaults are those of the Node.js
//! server that many come from.

/// A prompt of ours.
#[derive(Debug)]
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) arguments: &'static [Argument],
    /// `{{name}}` stands for an argument.
    pub(super) text: &'static str,
}

/// One of its arguments.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// `None`: it is required.
    pub(super) default: Option<&'static str>,
    /// Another name that is taken for it.
    pub(super) also: Option<&'static str>,
}

const fn needs(name: &'static str, description: &'static str) -> Argument {
    Argument { name, description, default: None, also: None }
}

const fn may(name: &'static str, description: &'static str, default: &'static str) -> Argument {
    Argument { name, description, default: Some(default), also: None }
}

const fn prompt(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
    text: &'static str,
) -> BuiltIn {
    BuiltIn { name, title, description, arguments, text }
}

/// All of them, in the order in which clients see them.
pub(super) const BUILT_IN: &[BuiltIn] = &[
    prompt(
        "privacy-analysis",
        "Privacy analysis",
        "Finds personal data in a text and says what to do about it.",
        &[
            needs("content", "The text."),
            may("regulation", "The rules that apply, as in GDPR.", "general privacy principles"),
        ],
        "Protect the privacy of people: analyze which personal and confidential data the text below \
         has, by these rules: {{regulation}}.\n\nText:\n{{content}}\n\nGive:\n\
         1. every piece of personal data, with its kind\n\
         2. how sensitive each is\n\
         3. what could happen if it got out\n\
         4. where the text conflicts with the rules\n\
         5. what to remove, mask or change\n\
         6. a judgment in one sentence",
    ),
    prompt(
        "secure-rewrite",
        "Secure rewrite",
        "Rewrites a text without what should not leave the house.",
        &[
            Argument {
                name: "content",
                description: "The text.",
                default: None,
                also: Some("original_content"),
            },
            may("target_audience", "Who is to read it.", "general audience"),
            may("privacy_level", "strict, moderate or minimal.", "moderate"),
        ],
        "Rewrite the text below so that it can be shown to this audience: {{target_audience}}.\n\
         Level of privacy: {{privacy_level}}\n\nText:\n{{content}}\n\nDo this:\n\
         1. replace names, addresses, numbers and other identifying facts by general words\n\
         2. keep meaning, order and tone\n\
         3. invent nothing\n\
         4. use the same word for the same thing throughout\n\
         5. give the new text, then a list of the kinds of data that were replaced",
    ),
    prompt(
        "document-analysis",
        "Document analysis",
        "Takes a document apart: content, structure, quality, gaps.",
        &[
            needs("document", "The document."),
            may("focus_areas", "What to look at.", "general analysis"),
            may("domain", "The field that it is from.", "general"),
        ],
        "Analyze the document below.\nFocus: {{focus_areas}}\nField: {{domain}}\n\n\
         Document:\n{{document}}\n\nGive:\n\
         1. a summary in a few sentences\n\
         2. the main points, with where they stand\n\
         3. how it is built\n\
         4. strong and weak places\n\
         5. what is missing or contradictory\n\
         6. what follows from it",
    ),
    prompt(
        "risk-assessment",
        "Risk assessment",
        "Weighs the risks of a plan or situation.",
        &[
            needs("scenario", "The plan or situation."),
            may("risk_types", "Which risks, as in legal, technical.", "all risk types"),
            may("context", "What else matters.", ""),
        ],
        "Assess the risks of the scenario below.\nKinds of risk: {{risk_types}}\n\n\
         Scenario:\n{{scenario}}\n\nContext: {{context}}\n\nGive:\n\
         1. the risks\n\
         2. the probability and impact of each\n\
         3. how severe each is, in order\n\
         4. how to make each smaller\n\
         5. what to do if it happens all the same\n\
         6. what to watch, and the signs of trouble\n\
         7. a summary for somebody who decides",
    ),
    prompt(
        "code-security-review",
        "Code security review",
        "Looks for weaknesses in code.",
        &[
            needs("code", "The code."),
            needs("language", "Its language."),
            may("security_focus", "What to look for.", "comprehensive security review"),
        ],
        "Review the security of this {{language}} code.\nFocus: {{security_focus}}\n\n\
         Code:\n{{code}}\n\nGive:\n\
         1. each weakness, with its line and how it could be used\n\
         2. how severe each is\n\
         3. how input is checked, and where it is not\n\
         4. access, secrets and cryptography\n\
         5. corrected code for the severe ones\n\
         6. what was not looked at",
    ),
    prompt(
        "code-optimization",
        "Code optimization",
        "Makes code faster or easier to maintain.",
        &[
            needs("code", "The code."),
            needs("language", "Its language."),
            may("optimization_goals", "What to gain.", "performance and maintainability"),
        ],
        "Improve this {{language}} code.\nGoals: {{optimization_goals}}\n\nCode:\n{{code}}\n\n\
         Give:\n\
         1. what it costs now, and where\n\
         2. each improvement, with its reason\n\
         3. the improved code, whole\n\
         4. what each change gains, and what it costs\n\
         5. what behavior might differ, and how to test it",
    ),
    prompt(
        "meeting-summary",
        "Meeting summary",
        "Turns notes or a transcript into minutes.",
        &[
            needs("meeting_content", "Notes or a transcript."),
            may("participants", "Who was there.", ""),
            may("focus_areas", "What matters most.", "comprehensive summary"),
        ],
        "Write the minutes of the meeting below.\nParticipants: {{participants}}\n\
         Focus: {{focus_areas}}\n\nMeeting:\n{{meeting_content}}\n\nGive:\n\
         1. what it was about\n\
         2. what was discussed, by subject\n\
         3. decisions, with their reasons\n\
         4. tasks, with who does them and until when\n\
         5. open questions\n\
         6. what comes next",
    ),
    prompt(
        "email-draft",
        "Email draft",
        "Drafts an email.",
        &[
            needs("purpose", "What it is to achieve."),
            needs("recipient", "To whom."),
            may("tone", "How it is to sound.", "professional"),
            may("key_points", "What must be in it.", ""),
        ],
        "Draft an email.\nPurpose: {{purpose}}\nTo: {{recipient}}\nTone: {{tone}}\n\
         Points: {{key_points}}\n\nGive:\n\
         1. a subject line\n\
         2. a greeting that fits\n\
         3. the message, with the purpose in its first sentences\n\
         4. what the recipient is asked to do, and until when\n\
         5. a closing\n\
         Leave out whatever you would have to invent.",
    ),
    prompt(
        "research-synthesis",
        "Research synthesis",
        "Brings several sources together.",
        &[
            needs("sources", "The sources, or excerpts."),
            may("research_question", "What is to be answered.", ""),
            may("output_format", "The form of the result.", "comprehensive synthesis"),
        ],
        "Bring the sources below together.\nQuestion: {{research_question}}\n\
         Form: {{output_format}}\n\nSources:\n{{sources}}\n\nGive:\n\
         1. what each source says\n\
         2. where they agree\n\
         3. where they differ, and why\n\
         4. how good the evidence is\n\
         5. what is not known\n\
         6. the answer, with the sources for each part of it",
    ),
    prompt(
        "literature-review",
        "Literature review",
        "Writes a review of the literature on a topic.",
        &[
            needs("topic", "The topic."),
            needs("sources", "The works, or excerpts."),
            may("methodology", "How to review.", "systematic review"),
        ],
        "Review the literature on this topic: {{topic}}.\nMethod: {{methodology}}\n\n\
         Works:\n{{sources}}\n\nGive:\n\
         1. an introduction to the topic\n\
         2. how the works were gone through\n\
         3. the themes, with the works that belong to each\n\
         4. a comparison of methods and findings\n\
         5. weaknesses and gaps\n\
         6. where research should go\n\
         7. a conclusion",
    ),
    prompt(
        "content-adaptation",
        "Content adaptation",
        "Brings a text into another form.",
        &[
            needs("original_content", "The text."),
            needs("target_format", "The form, as in slides."),
            may("target_audience", "Who is to read it.", "general audience"),
        ],
        "Bring the text below into this form: {{target_format}}.\nAudience: {{target_audience}}\n\n\
         Text:\n{{original_content}}\n\nDo this:\n\
         1. keep what the text says\n\
         2. follow the customs of the form\n\
         3. choose words and depth for the audience\n\
         4. leave out what the form has no room for, and name it\n\
         5. give the new text first",
    ),
    prompt(
        "technical-documentation",
        "Technical documentation",
        "Writes documentation from source material.",
        &[
            needs("source_material", "Code, notes or specifications."),
            needs("doc_type", "The kind, as in API reference."),
            may("audience_level", "beginner, intermediate or expert.", "intermediate"),
        ],
        "Write documentation of this kind: {{doc_type}}.\nLevel of the readers: \
         {{audience_level}}\n\nMaterial:\n{{source_material}}\n\nGive:\n\
         1. what it is and what it is for\n\
         2. what is needed first\n\
         3. the main part, step by step or item by item\n\
         4. examples that work\n\
         5. limits and errors, with what to do\n\
         6. what the material leaves open",
    ),
];
